"""`foveal up` and a session where a named service is absent: said within 10 s, nothing started, the documented code."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from actors.config import parse_config
from deploy.local.process import free_port
from foveal.exits import Exit, exit_code_of
from foveal.session import LocalSession
from gallery.errors import GalleryUnavailableError
from models.errors import ModelError
from streams.errors import BrokerUnavailableError

pytestmark = pytest.mark.services

FOVEAL = Path(sys.executable).with_name("foveal")
SAID_WITHIN_S = 10.0


@pytest.fixture
def nowhere() -> str:
    """An address at which nothing listens."""
    return f"127.0.0.1:{free_port()}"


def up(home: Path, arguments: list[str], kafka: str, redis: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """`foveal up` with the two addresses; -> how it ended, and seconds."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FOVEAL_")}
    named = {"FOVEAL_HOME": str(home), "FOVEAL_KAFKA__BOOTSTRAP_SERVERS": kafka, "FOVEAL_REDIS__URL": redis}
    began = time.monotonic()
    done = subprocess.run(
        [FOVEAL, "up", *arguments], env=clean | named, capture_output=True, text=True, timeout=60, check=False
    )
    return done, time.monotonic() - began


@pytest.mark.parametrize("arguments", [[], ["--no-detach"]], ids=["detached", "held"])
@pytest.mark.parametrize("absent", ["kafka", "redis"])
def test_foveal_up_says_which_service_is_absent(
    tmp_path: Path, kafka: str, valkey: str, nowhere: str, absent: str, arguments: list[str]
) -> None:
    if absent == "kafka":
        done, took_s = up(tmp_path, arguments, nowhere, valkey)
        key, remedy = "streams.bootstrap_servers", "FOVEAL_KAFKA__BOOTSTRAP_SERVERS"
    else:
        done, took_s = up(tmp_path, arguments, kafka, f"redis://{nowhere}/0")
        key, remedy = "gallery.url", "FOVEAL_REDIS__URL"
    said = " ".join(done.stderr.split())
    assert done.returncode == Exit.UNREACHABLE, said
    assert took_s < SAID_WITHIN_S, said
    assert key in said
    assert nowhere in said
    assert remedy in said
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "session.json").exists()


def test_a_session_says_it_before_anything_is_started(tmp_path: Path, valkey: str, nowhere: str) -> None:
    config = parse_config({"streams": {"bootstrap_servers": nowhere}, "gallery": {"url": valkey}})
    steps: list[str] = []
    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match=nowhere):
        LocalSession(config, tmp_path, say=steps.append).start()
    assert time.monotonic() - began < SAID_WITHIN_S
    assert not steps
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # Ray's own fields
def test_serve_run_says_it_too(kafka: str, valkey: str, nowhere: str) -> None:
    """What `serve run actors.app:build` calls before it deploys anything."""
    from actors.app import ensure_services

    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match=nowhere):
        ensure_services(parse_config({"streams": {"bootstrap_servers": nowhere}, "gallery": {"url": valkey}}))
    with pytest.raises(GalleryUnavailableError, match=nowhere):
        ensure_services(
            parse_config({"streams": {"bootstrap_servers": kafka}, "gallery": {"url": f"redis://{nowhere}/0"}})
        )
    assert time.monotonic() - began < SAID_WITHIN_S


@pytest.mark.parametrize(("detector", "said"), [("yolo9", "foveal models list"), ("yolox_nano", "foveal models pull")])
def test_a_detector_that_is_not_there_is_said_before_any_replica_starts(
    tmp_path: Path, nowhere: str, detector: str, said: str
) -> None:
    perception = {"detector": detector, "detector_folder": str(tmp_path / "models")}
    config = parse_config({"streams": {"bootstrap_servers": nowhere}, "perception": perception})
    steps: list[str] = []
    with pytest.raises(ModelError, match=rf"{detector}.*{said}") as raised:
        LocalSession(config, tmp_path / "home", say=steps.append).start()
    assert not steps
    assert exit_code_of(raised.value) is Exit.USAGE
