"""The process behind `foveal up`: it holds a `LocalSession`, writes down how it is, and ends it on SIGTERM.

State file `session.json` in the home folder: `state` is starting, ready, stopping or failed. Whoever finds the file
tells by pid and start time whether that very process still runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from actors.config import load_config
from actors.errors import SessionError
from foveal.session import LocalSession

__all__ = ["SessionState", "bring_up", "read_state", "serve", "take_down"]

STATE_FILE = "session.json"
LOG_FILE = "session.log"
REFRESH_S = 1.0
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0
START_TIME_TOLERANCE_S = 2.0
STREAM_DEPLOYMENTS = ("PerceptionActor", "ReconstructionActor")


@dataclass(frozen=True, slots=True)
class SessionState:
    """What the state file says. `replicas` and `loops` are as of `updated_at_s` (seconds since the epoch)."""

    pid: int
    started_at_s: float
    state: str
    step: str = ""
    error: str | None = None
    info: dict[str, Any] | None = None
    replicas: dict[str, Any] = field(default_factory=dict)
    loops: dict[str, Any] = field(default_factory=dict)
    updated_at_s: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.process() is not None

    def process(self) -> psutil.Process | None:
        """The supervisor, None when it has ended."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at_s) < START_TIME_TOLERANCE_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def read_state(home: Path) -> SessionState | None:
    """What the last `foveal up` in this folder wrote; None where there is nothing.

    Raises: SessionError if the file is not one of this version.
    """
    path = home / STATE_FILE
    try:
        return SessionState(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise SessionError(
            f"{path}: expected a state file of this version, got: {error}; end its process by hand, and remove it"
        ) from error


def bring_up(config: Path | None, home: Path, *, say: Callable[[str], None] = lambda line: None) -> SessionState:
    """Start a supervisor that outlives this process, and wait until the application is healthy.

    Raises: SessionError if one runs already, if it fails (with its own message), or is not ready in time.
    """
    before = read_state(home)
    if before is not None and before.alive:
        raise SessionError(
            f"a session is up already in {home} (pid {before.pid}); `foveal status` shows it, `foveal down` ends it"
        )
    home.mkdir(parents=True, exist_ok=True)
    (home / STATE_FILE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "foveal.supervisor", str(home), *([str(config.absolute())] if config else [])]
    with (home / LOG_FILE).open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        return _wait_ready(process, home, say)
    except BaseException:
        # Ctrl-C while it starts: leave nothing half up.
        _end(psutil.Process(process.pid) if process.poll() is None else None)
        raise


def take_down(home: Path) -> bool:
    """End the session of this folder, whatever state it is in; False where nothing ran."""
    from deploy.local import LocalStack

    state = read_state(home)
    process = state.process() if state is not None else None
    _end(process)
    left = LocalStack(home).stop()
    (home / STATE_FILE).unlink(missing_ok=True)
    return process is not None or bool(left)


def serve(home: Path, config_path: Path | None) -> int:
    """Hold a session until SIGTERM or SIGINT. Returns the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_exit)
    me = psutil.Process()
    board = _Board(home, SessionState(me.pid, me.create_time(), "starting"))
    session: LocalSession | None = None
    try:
        session = LocalSession(
            load_config(config_path, dict(os.environ)), home, say=lambda line: board.write(step=line)
        )
        info = session.start()
        # Ray has set its own handler, which would leave at once and skip the flush.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        board.write(state="ready", step="", info=info.to_dict())
        while not stop.is_set():
            board.write(replicas=session.replicas(), loops=_loops(session))
            stop.wait(REFRESH_S)
    except SystemExit:
        return 0
    except Exception as error:
        board.write(state="failed", error=f"{type(error).__name__}: {error}")
        raise
    finally:
        if session is not None:
            if board.state.state != "failed":
                board.write(state="stopping")
            session.stop()
        if board.state.state != "failed":
            (home / STATE_FILE).unlink(missing_ok=True)
    return 0


class _Board:
    """The state file, replaced as a whole at each change."""

    def __init__(self, home: Path, state: SessionState) -> None:
        self._path = home / STATE_FILE
        self.state = state
        home.mkdir(parents=True, exist_ok=True)
        self.write()

    def write(self, **changes: Any) -> None:
        self.state = SessionState(**{**asdict(self.state), **changes, "updated_at_s": time.time()})
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self.state), indent=2) + "\n")
        fresh.replace(self._path)


def _loops(session: LocalSession) -> dict[str, Any]:
    loops: dict[str, Any] = {}
    deployed = session.replicas()
    for name in STREAM_DEPLOYMENTS:
        if name not in deployed:
            continue
        try:
            loops[name] = session.snapshot(name)
        except Exception as error:  # noqa: BLE001 a replica that is being replaced must not end the supervisor
            loops[name] = {"error": f"{type(error).__name__}: {error}"}
    return loops


def _wait_ready(process: subprocess.Popen[bytes], home: Path, say: Callable[[str], None]) -> SessionState:
    deadline = time.monotonic() + START_TIMEOUT_S
    said = ""
    while time.monotonic() < deadline:
        state = read_state(home)
        if state is not None:
            if state.step and state.step != said:
                said = state.step
                say(said)
            if state.state == "ready":
                return state
            if state.state == "failed":
                raise SessionError(f"{state.error}\nthe whole log is in {home / LOG_FILE}")
        if process.poll() is not None:
            tail = "\n".join((home / LOG_FILE).read_text(errors="replace").splitlines()[-15:])
            raise SessionError(f"the session ended with code {process.returncode} while it started:\n{tail}")
        time.sleep(0.1)
    raise SessionError(f"the session is not ready after {START_TIMEOUT_S:g} s; see {home / LOG_FILE}")


def _end(process: psutil.Process | None) -> None:
    if process is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        process.terminate()
        _, left = psutil.wait_procs([process], timeout=STOP_TIMEOUT_S)
        for survivor in [*left, *family]:
            with contextlib.suppress(psutil.NoSuchProcess):
                survivor.kill()


def _raise_exit(*_: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
