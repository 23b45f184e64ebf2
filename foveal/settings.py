"""Which application the commands and the client talk to: a file, the environment, or the local stack that is up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from actors.config import AppConfig, load_config
from models.engine.config import EngineConfig

__all__ = ["engines_at_home", "home_folder", "load_settings"]

OTHER_NAMES = {
    "FOVEAL_STREAMS__BOOTSTRAP_SERVERS": "FOVEAL_KAFKA__BOOTSTRAP_SERVERS",
    "FOVEAL_GALLERY__URL": "FOVEAL_REDIS__URL",
}


def home_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where the local stack keeps its state: FOVEAL_HOME, else `.foveal` in the working directory."""
    return Path((os.environ if environ is None else environ).get("FOVEAL_HOME", ".foveal")).absolute()


def engines_at_home(engine: EngineConfig) -> EngineConfig:
    """With compiled engines kept in the home folder, where the settings name no other place."""
    return engine.model_copy(update={"cache_dir": engine.cache_dir or home_folder() / "engines"})


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> AppConfig:
    """The typed settings. Addresses: the environment first, then the file, then the local stack that is up.

    Without a path `configs/local.yaml` is read where the working directory has it.
    Raises: ConfigError naming the dotted key, what was expected, what came, and the remedy.
    """
    environ = dict(os.environ if environ is None else environ)
    if path is None and Path("configs/local.yaml").is_file():
        path = Path("configs/local.yaml")
    for variable, address in _local_addresses(home_folder(environ)).items():
        if variable not in environ and OTHER_NAMES[variable] not in environ:
            environ[variable] = address
    return load_config(path, environ)


def _local_addresses(folder: Path) -> dict[str, str]:
    from deploy.local.stack import LocalStack

    state = LocalStack(folder).state()
    if state is None:
        return {}
    found = {
        "FOVEAL_STREAMS__BOOTSTRAP_SERVERS": state.bootstrap_servers if state.kafka and state.kafka.alive else None,
        "FOVEAL_GALLERY__URL": state.redis_url if state.valkey and state.valkey.alive else None,
    }
    return {variable: address for variable, address in found.items() if address is not None}
