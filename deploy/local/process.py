"""A server as a child process: its own process group, its output in a log file, gone with its parent.

A guard (`sh` waiting on a pipe that only the parent holds) sits in the server's process group and ends
the group when the parent dies in whatever way. Linux' parent-death signal is not used: it fires when the
thread that started the child ends, not the process.
"""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from deploy.local.errors import ServiceStartError

__all__ = ["LOOPBACK", "ServerProcess", "accepts", "free_port", "port_or_free"]

LOOPBACK = "127.0.0.1"
GUARD = "read -r line; kill -KILL 0"
LOG_LINES_SHOWN = 20
POLL_S = 0.02
# Servers that are to outlive this process: kept, for a Popen that is collected while its process runs warns of a leak.
_OUTLIVING: list[subprocess.Popen[bytes]] = []


class ServerProcess:
    """One running server: start, wait until it answers, stop or kill."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None):
        self._name = name
        self._command = list(command)
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self.log_path = folder / f"{name}.log"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def listens(self, port: int) -> bool:
        """Whether this very process takes connections there: another server may have taken the port before it."""
        if not (self.running and accepts(port)) or self._process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            sockets = psutil.Process(self._process.pid).net_connections("tcp")
            return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets)
        return False

    def start(self, *, outlive_parent: bool) -> None:
        """Spawn it. With `outlive_parent` it gets a session of its own and no guard."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=outlive_parent, process_group=None if outlive_parent else 0,
            )  # fmt: skip
        if outlive_parent:
            _OUTLIVING.append(self._process)
        else:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", GUARD], stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=self._process.pid,
            )  # fmt: skip

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Raises: ServiceStartError with the log's last lines when it ends or is not ready in time."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                why = f"ended with code {self._process and self._process.returncode}" if ended else "is not ready"
                self.kill()
                raise ServiceStartError(
                    f"local {self._name}: {why} within {timeout_s:g} s: {shlex.join(self._command)[:200]}\n"
                    f"the last lines of {self.log_path}:\n{self.log_tail()}"
                )
            time.sleep(POLL_S)

    def stop(self, timeout_s: float) -> None:
        """Ask it to end (SIGTERM), and end it for good after the timeout. Nothing to do when it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL), guard and all."""
        for process in (self._guard, self._process):
            if process is None:
                continue
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._guard = None

    def log_tail(self, lines: int = LOG_LINES_SHOWN) -> str:
        """The log's last lines, for an error text."""
        if not self.log_path.exists():
            return "(no log was written)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_or_free(port: int | None) -> int:
    """`port` where it can be bound, else any free one."""
    if port is not None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                return port
    return free_port()


def accepts(port: int) -> bool:
    """Whether something takes connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((LOOPBACK, port)) == 0
