"""Kafka and Valkey together, with a state file by which another process finds and stops them."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import psutil

from deploy.local.errors import LocalStackError
from deploy.local.kafka import LocalKafka
from deploy.local.process import LOOPBACK, accepts, port_or_free
from deploy.local.valkey import LocalValkey

__all__ = ["LocalStack", "RunningService", "StackState"]

KAFKA_PORT = 9092
VALKEY_PORT = 6379
START_TIME_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True)
class RunningService:
    """A server as it was when the state file was written.

    `started_at_s` is the process's start in seconds since the epoch: with it a process that was given the
    same id later is told apart, and left alone.
    """

    pid: int
    started_at_s: float
    port: int

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self._process() is not None

    @property
    def answers(self) -> bool:
        return self.alive and accepts(self.port)

    @property
    def rss_bytes(self) -> int:
        """Resident memory, 0 when it does not run."""
        process = self._process()
        return int(process.memory_info().rss) if process else 0

    def stop(self, timeout_s: float) -> None:
        """SIGTERM, then SIGKILL after the timeout; nothing when it has ended already."""
        process = self._process()
        if process is None:
            return
        try:
            process.terminate()
            process.wait(timeout_s)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(timeout_s)
        except psutil.NoSuchProcess:
            return  # it ended between the look and the signal: what was wanted

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at_s) < START_TIME_TOLERANCE_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True, slots=True)
class StackState:
    """What the state file says; a service that is not part of the stack is None."""

    kafka: RunningService | None = None
    valkey: RunningService | None = None

    @property
    def bootstrap_servers(self) -> str | None:
        return f"{LOOPBACK}:{self.kafka.port}" if self.kafka else None

    @property
    def redis_url(self) -> str | None:
        return f"redis://{LOOPBACK}:{self.valkey.port}/0" if self.valkey else None

    @property
    def services(self) -> dict[str, RunningService]:
        named = {"kafka": self.kafka, "valkey": self.valkey}
        return {name: service for name, service in named.items() if service is not None}

    @property
    def stale(self) -> bool:
        """Whether a named service no longer runs: the machine restarted, or it was killed."""
        return any(not service.alive for service in self.services.values())


class LocalStack:
    """The embedded services of one folder: started once, used by all, stopped by anybody.

    As a context manager the services end with this process; `start()` alone leaves them running
    when `outlive_parent` is set.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kafka: bool = True,
        valkey: bool = True,
        outlive_parent: bool = True,
        heap_mb: int = 512,
        kafka_port: int | None = KAFKA_PORT,
        valkey_port: int | None = VALKEY_PORT,
    ):
        self.folder = folder.resolve()
        self._wants_kafka = kafka
        self._wants_valkey = valkey
        self._outlive_parent = outlive_parent
        self._heap_mb = heap_mb
        self._kafka_port = kafka_port
        self._valkey_port = valkey_port

    @property
    def state_path(self) -> Path:
        return self.folder / "stack.json"

    def state(self) -> StackState | None:
        """What was started in this folder, by whichever process; None when nothing was.

        Raises: LocalStackError when the state file can't be read.
        """
        try:
            fields = json.loads(self.state_path.read_text())
            return StackState(**{name: RunningService(**service) for name, service in fields.items() if service})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise LocalStackError(
                f"local stack: {self.state_path} is not a state file of this version ({error}); "
                "stop its services by hand if they run, and remove it"
            ) from error

    def start(self, timeout_s: float = 60.0) -> StackState:
        """Start what does not run yet, and remember it; services that run already are kept.

        The usual ports are taken where they are free, any others where not.
        Raises: ServiceStartError, ArtifactError; what this call had started by then is stopped.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._exclusive():
            before = self.state() or StackState()
            kafka = before.kafka if before.kafka and before.kafka.answers else None
            valkey = before.valkey if before.valkey and before.valkey.answers else None
            started: list[LocalKafka | LocalValkey] = []
            try:
                if self._wants_kafka and kafka is None:
                    kafka = self._start_kafka(before.kafka, started, timeout_s)
                if self._wants_valkey and valkey is None:
                    valkey = self._start_valkey(before.valkey, started, timeout_s)
            except BaseException:  # a Ctrl-C must not leave half a stack either
                for server in started:
                    server.kill()
                raise
            state = StackState(kafka, valkey)
            self._write(state)
            return state

    def stop(self, timeout_s: float = 15.0) -> list[str]:
        """Stop what the state file names and remove the file; returns the names of what was running."""
        if not self.state_path.exists():
            return []
        with self._exclusive():
            state = self.state() or StackState()
            running = [name for name, service in state.services.items() if service.alive]
            for service in state.services.values():
                service.stop(timeout_s)
            self.state_path.unlink(missing_ok=True)
            return running

    def __enter__(self) -> StackState:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_kafka(
        self, before: RunningService | None, started: list[LocalKafka | LocalValkey], timeout_s: float
    ) -> RunningService:
        _end(before)
        port = port_or_free(before.port if before else self._kafka_port)
        server = LocalKafka(self.folder / "kafka", port, heap_mb=self._heap_mb, outlive_parent=self._outlive_parent)
        started.append(server)
        server.start(timeout_s)
        return _running(server)

    def _start_valkey(
        self, before: RunningService | None, started: list[LocalKafka | LocalValkey], timeout_s: float
    ) -> RunningService:
        _end(before)
        port = port_or_free(before.port if before else self._valkey_port)
        server = LocalValkey(self.folder / "valkey", port, persist=True, outlive_parent=self._outlive_parent)
        started.append(server)
        server.start(timeout_s)
        return _running(server)

    def _write(self, state: StackState) -> None:
        fresh = self.state_path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(state), indent=2) + "\n")
        fresh.replace(self.state_path)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One `up` or `down` of a folder at a time; the kernel drops the lock when its holder dies."""
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _end(service: RunningService | None) -> None:
    """A service that runs but does not answer holds its data folder: end it before the next."""
    if service is not None:
        service.stop(timeout_s=5.0)


def _running(server: LocalKafka | LocalValkey) -> RunningService:
    pid = server.pid
    if pid is None:
        raise LocalStackError("local stack: a server ended right after it had answered; see its log and start again")
    return RunningService(pid, psutil.Process(pid).create_time(), server.port)
