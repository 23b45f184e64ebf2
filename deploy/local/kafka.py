"""Apache Kafka as one KRaft node (broker and controller in one process) on loopback."""

import base64
import subprocess
import uuid
from pathlib import Path

from deploy.local.artifacts import classpath
from deploy.local.errors import ServiceStartError
from deploy.local.java import java_command
from deploy.local.process import LOOPBACK, free_port
from deploy.local.server import LocalServer

__all__ = ["BROKER_SETTINGS", "LocalKafka"]

MAX_RECORD_BYTES = 32 * 1024 * 1024
MAX_BATCH_BYTES = MAX_RECORD_BYTES + 64 * 1024  # headers and the batch's own fields
BROKER_SETTINGS: dict[str, str | int] = {
    "auto.create.topics.enable": "false",
    "message.max.bytes": MAX_BATCH_BYTES,
    "replica.fetch.max.bytes": MAX_BATCH_BYTES,
    "socket.request.max.bytes": 100 * 1024 * 1024,
    # One node: everything that Kafka keeps about groups and transactions has one replica.
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    # A dead replica's open transaction blocks readers of committed records: look for it every second, not every ten.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 2,
    "num.recovery.threads.per.data.dir": 1,
    "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
    "log.retention.check.interval.ms": 30_000,
    # A node that was killed is let in again once its old session has ended; the default is 9 s.
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
}
LOG4J_CONFIG = Path(__file__).with_name("log4j2.xml")


class LocalKafka(LocalServer):
    """One Kafka node. Its jars are fetched and its folder is formatted the first time."""

    name = "kafka"
    start_timeout_s = 60.0
    stop_timeout_s = 10.0

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        heap_mb: int = 512,
        outlive_parent: bool = False,
        settings: dict[str, str | int] | None = None,
        cache: Path | None = None,
    ):
        super().__init__(folder, port, outlive_parent=outlive_parent)
        self._heap_mb = heap_mb
        self._settings = BROKER_SETTINGS | (settings or {})
        self._cache = cache

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`, known once it has been started."""
        return f"{LOOPBACK}:{self.port}"

    def _command(self, port: int, timeout_s: float) -> list[str]:
        """Raises: ArtifactError; ServiceStartError."""
        jars = classpath(self._cache)
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._write_config(port, free_port())
        if not (self._folder / "data" / "meta.properties").exists():
            self._format(jars, config, timeout_s)
        options = [f"-Dlog4j2.configurationFile={LOG4J_CONFIG}"]
        return java_command(jars, "kafka.Kafka", str(config), heap_mb=self._heap_mb, options=options)

    def _write_config(self, port: int, controller_port: int) -> Path:
        addresses = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
            "log.dirs": self._folder / "data",
        }
        path = self._folder / "server.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in (addresses | self._settings).items()))
        return path

    def _format(self, jars: list[Path], config: Path, timeout_s: float) -> None:
        # One that begins with a dash would be read as an option, as one in 64 would: the first bit is cleared.
        name = uuid.uuid4().bytes
        cluster_id = base64.urlsafe_b64encode(bytes([name[0] & 0x7F]) + name[1:]).decode().rstrip("=")
        command = java_command(
            jars, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(config), heap_mb=128,
            options=[f"-Dlog4j2.configurationFile={LOG4J_CONFIG}"],
        )  # fmt: skip
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode != 0:
            raise ServiceStartError(
                f"local kafka: the storage formatter ended with code {done.returncode} in {self._folder}:\n"
                f"{(done.stdout + done.stderr)[-2000:]}"
            )
