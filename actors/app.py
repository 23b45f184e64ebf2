"""The Serve application, from one settings file: `serve run actors.app:build config=configs/local.yaml`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from ray import serve
from ray.serve import Application

from actors.autoscaling import serve_options
from actors.config import AppConfig, HealthConfig, PlacementConfig, load_config
from actors.errors import ConfigError
from actors.named import ensure_networks
from gallery.store import GalleryStore
from models.sites import serving_spec
from streams.topics import ensure_topics

__all__ = ["application", "build", "ensure_services"]

SHUTDOWN_TIMEOUT_S = 20.0
# Serve's own drain looks for HTTP requests only, of which stream deployments have none.
SHUTDOWN_WAIT_S = 0.1
MAX_ONGOING = 16


def build(args: Mapping[str, str]) -> Application:
    """What `serve run` and `serve deploy` call; `config` is the path of the settings, FOVEAL_... overrides them.

    Raises: ConfigError; BrokerUnavailableError or GalleryUnavailableError within 10 s, with the address; ModelError
    where a network is not known or its file not there: replicas would be started again and again.
    """
    unknown = sorted(set(args) - {"config"})
    if unknown:
        raise ConfigError(f"{unknown[0]}: expected only the argument config=PATH, got {unknown[0]!r}; take it out")
    config = load_config(args.get("config"), dict(os.environ))
    ensure_networks(config)
    ensure_services(config)
    return application(config)


def ensure_services(config: AppConfig) -> None:
    """Look whether Kafka and Redis are there, and make the topics and the galleries that the settings name.

    Raises: as `build`.
    """
    ensure_topics(config.streams)
    rules = config.perception.streams if config.perception.placement.replicas else ()
    named = sorted({rule.gallery for rule in rules if "identities" in rule.compute})
    with GalleryStore(config.gallery, who="foveal") as store:
        store.check()
        looks = serving_spec(config.reid)
        dimension = int(looks.outputs[0].length or 0)
        for gallery in named:
            if gallery not in {info.name for info in store.list_galleries()}:
                store.create(gallery, dimension=dimension, epoch=looks.stem, exist_ok=True)


def application(config: AppConfig) -> Application:
    """The deployments that have replicas. The gateway is the ingress; without it the first of the others."""
    from actors.deployments import PerceptionActor, ReconstructionActor
    from actors.gateway import Gateway

    bound: dict[str, Application] = {}
    for name, actor, section in (
        ("perception", PerceptionActor, config.perception),
        ("reconstruction", ReconstructionActor, config.reconstruction),
    ):
        if section.placement.replicas:
            options = _scaled(section.placement, section.health)
            if section.autoscaling.enabled:
                del options["num_replicas"]
                options["autoscaling_config"] = serve_options(section.autoscaling)
            deployment: Any = serve.deployment(actor)
            bound[name] = deployment.options(**options).bind(config)
    if config.gateway.placement.replicas:
        gateway: Any = Gateway  # Serve's decorators leave a Deployment, which their types do not say
        options = _scaled(config.gateway.placement, config.perception.health)
        return cast(Application, gateway.options(**options).bind(config, bound))
    if not bound:
        raise ConfigError(
            "perception.placement.replicas: expected at least one deployment with replicas, got none; "
            "raise one of perception, reconstruction and gateway .placement.replicas"
        )
    only: Any = _Only
    return cast(Application, only.bind(bound))


@serve.deployment(ray_actor_options={"num_cpus": 0})
class _Only:
    """Holds the stream deployments together where there is no gateway; Serve asks for one ingress."""

    def __init__(self, deployments: Mapping[str, Any]) -> None:
        self._deployments = deployments

    def __call__(self) -> str:
        return "foveal"


def _scaled(placement: PlacementConfig, health: HealthConfig) -> dict[str, Any]:
    return {
        "num_replicas": placement.replicas,
        "ray_actor_options": {"num_cpus": placement.num_cpus, "num_gpus": placement.num_gpus},
        "max_ongoing_requests": MAX_ONGOING,
        "health_check_period_s": health.check_period_s,
        "health_check_timeout_s": health.stalled_after_s,
        "graceful_shutdown_timeout_s": SHUTDOWN_TIMEOUT_S,
        "graceful_shutdown_wait_loop_s": SHUTDOWN_WAIT_S,
    }
