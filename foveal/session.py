"""The whole application on this machine: local stack, local Ray, topics and the Serve application, up and down.

`LocalSession` runs it inside this process; `foveal up` puts one into a process of its own (`foveal.supervisor`).
Addresses that the settings name are used as they are; what they do not name is started here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from actors.config import AppConfig
from actors.errors import SessionError
from deploy.local import LocalStack

__all__ = ["LocalSession", "SessionInfo", "reach_named_services", "with_addresses"]

SERVE_APP = "foveal"
LOOPBACK = "127.0.0.1"
CONTROLLER_END_S = 5.0
OBJECT_STORE_BYTES = 128 * 1024 * 1024

# For Ray's own processes: no usage reports, few prestarted workers' worth of threads, no colours in log files.
# Ray makes its workers nice by 15, which here would put the broker and everything else before the frames.
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_worker_niceness": "0",
}


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """Where everything of a running session answers. `metrics_url` is for Prometheus."""

    bootstrap_servers: str
    redis_url: str
    gateway_url: str | None
    metrics_url: str
    ray_address: str
    own_kafka: bool
    own_redis: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON wants it."""
        return asdict(self)


class LocalSession:
    """Started at once, stopped as a whole; a context manager. One a process, as Ray has one driver a process.

    home: where the local stack keeps its data. num_cpus: what Ray may give out; None for what the machine has, and
    at least what the settings ask for, so that a small machine is shared rather than refused.
    say: gets a line for each step, for progress on a terminal.
    Raises on start: StreamError, GalleryError, ServiceStartError, SessionError, each with the address and the remedy;
    whatever had been started by then is stopped again.
    """

    def __init__(
        self,
        config: AppConfig,
        home: Path,
        *,
        num_cpus: float | None = None,
        ephemeral: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._given = config
        self._home = home
        self._num_cpus = num_cpus
        self._ephemeral = ephemeral
        self._say = say
        self._stack: LocalStack | None = None
        self._ray_folder: Path | None = None
        self._ray_up = False
        self._info: SessionInfo | None = None
        self._config = config

    @property
    def config(self) -> AppConfig:
        """The settings with the addresses that are in force."""
        return self._config

    @property
    def info(self) -> SessionInfo:
        """The addresses. Raises: SessionError before start."""
        if self._info is None:
            raise SessionError("the session is not up: expected start() first; use it as a context manager")
        return self._info

    def start(self) -> SessionInfo:
        """Bring up what is missing and wait until every replica is healthy."""
        from actors.named import ensure_networks

        ensure_networks(self._given)
        reach_named_services(self._given)
        try:
            own_kafka, own_redis = self._start_stack()
            self._start_ray()
            self._info = self._deploy(own_kafka, own_redis)
        except BaseException:
            self.stop()
            raise
        return self._info

    def stop(self) -> None:
        """Take the application down (it flushes and commits), then Ray, then the stack. Twice does no harm."""
        try:
            self._stop_ray()
        finally:
            if self._stack is not None:
                self._say("stopping Kafka and Valkey")
                self._stack.stop()
                if self._ephemeral:
                    shutil.rmtree(self._stack.folder, ignore_errors=True)
                self._stack = None
            self._info = None

    def replicas(self) -> dict[str, list[dict[str, Any]]]:
        """Deployment -> its replicas as Serve sees them: id and state."""
        from ray import serve

        application = serve.status().applications.get(SERVE_APP)
        if application is None:
            return {}
        return {
            name: [{"state": str(state), "count": count} for state, count in deployment.replica_states.items()]
            for name, deployment in application.deployments.items()
        }

    def snapshot(self, deployment: str, timeout_s: float = 5.0) -> dict[str, Any]:
        """What one replica of a stream deployment says of itself: see `actors.loop.LoopSnapshot`."""
        from ray import serve

        answer: dict[str, Any] = (
            serve.get_deployment_handle(deployment, SERVE_APP).status.remote().result(timeout_s=timeout_s)
        )
        return answer

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_stack(self) -> tuple[bool, bool]:
        own_kafka, own_redis = not _names_kafka(self._given), not _names_redis(self._given)
        if own_kafka or own_redis:
            names = " and ".join(name for name, own in (("Kafka", own_kafka), ("Valkey", own_redis)) if own)
            self._say(f"starting {names} in {self._home}")
            self._stack = LocalStack(self._home, kafka=own_kafka, valkey=own_redis, outlive_parent=False)
            state = self._stack.start()
            self._config = with_addresses(self._given, state.bootstrap_servers, state.redis_url)
        return own_kafka, own_redis

    def _start_ray(self) -> None:
        import ray

        if ray.is_initialized():
            raise SessionError(
                "this process has a Ray already: expected none, since a session starts its own; call ray.shutdown() "
                "first, or deploy onto that Ray by `serve run actors.app:build config=configs/local.yaml`"
            )
        self._say("starting Ray")
        # A folder of its own: other Rays of this machine are neither found nor confused, and it goes as a whole.
        # Short, because Ray puts Unix sockets (107 characters at most) beneath it.
        self._ray_folder = Path(tempfile.mkdtemp(prefix="foveal-ray-", dir="/tmp"))
        os.environ.update(RAY_ENVIRONMENT)
        # One a process, since Ray reads it once; otherwise it would write one into the user's home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray.init(
            address="local",
            num_cpus=self._cpus(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(self._ray_folder),
            _node_ip_address=LOOPBACK,
        )
        self._ray_up = True

    def _cpus(self) -> int:
        streams = self._config.perception, self._config.reconstruction
        needed = self._config.gateway.placement.num_cpus * self._config.gateway.placement.replicas
        for section in streams:
            most = section.autoscaling.max_replicas if section.autoscaling.enabled else 0
            replicas = section.placement.replicas and max(section.placement.replicas, most)
            needed += section.placement.num_cpus * replicas
        have = self._num_cpus if self._num_cpus is not None else (os.cpu_count() or 1)
        return max(int(have), -int(-needed // 1))

    def _deploy(self, own_kafka: bool, own_redis: bool) -> SessionInfo:
        import ray
        from ray import serve

        from actors.app import application, ensure_services
        from deploy.local.process import port_or_free

        self._say("looking for Kafka and Redis, making the topics and galleries")
        ensure_services(self._config)

        self._say("deploying the application (engines are compiled the first time)")
        gateway = self._config.gateway
        port = port_or_free(gateway.port or None)
        serve.start(
            proxy_location="HeadOnly" if gateway.placement.replicas else "Disabled",
            http_options={"host": gateway.host, "port": port},
            logging_config={"log_level": "WARNING"},
        )
        try:
            serve.run(application(self._config), name=SERVE_APP, route_prefix="/", blocking=False)
        except RuntimeError as error:
            raise SessionError(
                f"the application did not come up: {error}; its replicas' logs are in "
                f"{self._ray_folder}/session_latest/logs/serve while it is up; `foveal doctor` checks what it needs"
            ) from error
        metrics_port = ray.nodes()[0]["MetricsExportPort"]  # type: ignore[no-untyped-call]
        return SessionInfo(
            bootstrap_servers=",".join(self._config.streams.bootstrap_servers),
            redis_url=self._config.gallery.url,
            gateway_url=f"http://{LOOPBACK}:{port}" if gateway.placement.replicas else None,
            metrics_url=f"http://{LOOPBACK}:{metrics_port}/metrics",
            ray_address=ray.get_runtime_context().gcs_address,
            own_kafka=own_kafka,
            own_redis=own_redis,
        )

    def _stop_ray(self) -> None:
        import ray
        from ray import serve

        if self._ray_up:
            self._say("stopping the application and Ray")
            try:
                # Ray prints to stdout that Serve's controller, which ends itself, has failed.
                with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                    serve.shutdown()  # type: ignore[no-untyped-call]
                    _end_named_actors()
            finally:
                ray.shutdown()
                self._ray_up = False
        if self._ray_folder is not None:
            shutil.rmtree(self._ray_folder, ignore_errors=True)
            self._ray_folder = None


def _end_named_actors() -> None:
    """Serve's controller, where it did not end in its time: while it lives, this process's own polling of it goes on
    beyond `ray.shutdown`, which Ray answers by ending the process.
    """
    import ray

    deadline = time.monotonic() + CONTROLLER_END_S
    while (left := ray.util.list_named_actors(all_namespaces=True)) and time.monotonic() < deadline:
        time.sleep(0.1)  # Serve's shutdown returns somewhat before its controller is gone
    for actor in left:
        try:
            ray.kill(ray.get_actor(actor["name"], namespace=actor["namespace"]))
        except ValueError:
            continue  # it ended meanwhile


def reach_named_services(config: AppConfig) -> None:
    """Ask the Redis and the Kafka that the settings name whether they are there, before anything is started for them.

    Raises: GalleryUnavailableError, BrokerUnavailableError, BrokerRefusedError within 10 s, with address and remedy.
    """
    from gallery.store import GalleryStore
    from streams.client import describe_cluster

    if _names_redis(config):
        with GalleryStore(config.gallery) as store:
            store.check()
    if _names_kafka(config):
        describe_cluster(config.streams)


def _names_kafka(config: AppConfig) -> bool:
    return "bootstrap_servers" in config.streams.model_fields_set


def _names_redis(config: AppConfig) -> bool:
    return "url" in config.gallery.model_fields_set


def with_addresses(config: AppConfig, bootstrap_servers: str | None, redis_url: str | None) -> AppConfig:
    """The settings with other addresses; None keeps the one that is there."""
    streams, gallery = config.streams, config.gallery
    if bootstrap_servers is not None:
        streams = streams.model_copy(update={"bootstrap_servers": tuple(bootstrap_servers.split(","))})
    if redis_url is not None:
        gallery = gallery.model_copy(update={"url": redis_url})
    return config.model_copy(update={"streams": streams, "gallery": gallery})
