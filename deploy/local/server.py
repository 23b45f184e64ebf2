"""What the embedded servers share: a port that is kept, a start that survives a taken port, stop, kill."""

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from deploy.local.errors import ServiceStartError
from deploy.local.process import ServerProcess, free_port

__all__ = ["LocalServer"]

START_ATTEMPTS = 3


class LocalServer(ABC):
    """One server with its data under `folder`; started again, it keeps its data and its port.

    `outlive_parent` leaves it running when the process that started it ends (`foveal up`).
    """

    name: ClassVar[str]
    start_timeout_s: ClassVar[float]
    stop_timeout_s: ClassVar[float]

    def __init__(self, folder: Path, port: int | None, *, outlive_parent: bool) -> None:
        self._folder = folder.resolve()
        self._port = port
        self._outlive_parent = outlive_parent
        self._server: ServerProcess | None = None

    @property
    def port(self) -> int:
        """Known once it has been started."""
        if self._port is None:
            raise ServiceStartError(f"local {self.name}: it has no address before start(); call start() first")
        return self._port

    @property
    def pid(self) -> int | None:
        return self._server.pid if self._server else None

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.running

    @property
    def log_path(self) -> Path:
        return self._folder / f"{self.name}.log"

    def start(self, timeout_s: float | None = None) -> None:
        """Start it and wait until it answers. Raises: ServiceStartError with the log's last lines; ArtifactError."""
        if self.running:
            return
        timeout_s = self.start_timeout_s if timeout_s is None else timeout_s
        for attempt in range(1, START_ATTEMPTS + 1):
            port = self._port or free_port()
            server = ServerProcess(self.name, self._command(port, timeout_s), self._folder)
            try:
                server.start(outlive_parent=self._outlive_parent)
                self._server = server
                server.wait_until(lambda: server.listens(port), timeout_s)  # noqa: B023 it ends in this turn
            except ServiceStartError as error:
                # Somebody took a port between the choice and the bind; another choice may do.
                if "Address already in use" not in str(error) or attempt == START_ATTEMPTS:
                    raise
                self._port = None
            else:
                self._port = port
                return

    def stop(self, timeout_s: float | None = None) -> None:
        """Shut down cleanly, by force after the timeout."""
        if self._server is not None:
            self._server.stop(self.stop_timeout_s if timeout_s is None else timeout_s)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._server is not None:
            self._server.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _command(self, port: int, timeout_s: float) -> list[str]:
        """Prepare the folder, and say what to run."""
