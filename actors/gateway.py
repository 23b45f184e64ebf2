"""The REST address of the service, as a Serve deployment: the routes are in `actors/gateway_routes.py`.

A replica starts without Redis and without engines: galleries answer 503 until Redis does, and the engines of search by
picture are loaded at the first picture.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.exceptions import RayError

from actors.gallery_metrics import GalleryMetrics
from actors.gateway_routes import GatewayServices, build_api
from actors.pictures import PersonEmbedder

if TYPE_CHECKING:
    from fastapi import FastAPI

    from actors.config import AppConfig

__all__ = ["Gateway"]

STATUS_TIMEOUT_S = 2.0


@serve.deployment
@serve.ingress()
class Gateway:
    """HTTP in, galleries and status out.

    `reporters` are handles of the deployments whose `status()` goes into /v1/status, by the name shown there.
    """

    def __init__(self, config: AppConfig, reporters: Mapping[str, Any] | None = None) -> None:
        self._reporters = dict(reporters or {})
        self._open = ExitStack()
        embedder = PersonEmbedder.of(config)
        self._services = self._open.enter_context(GatewayServices.opened(config.gallery, embedder, self.report))
        metrics = GalleryMetrics(self._services.store, self._services.index)
        metrics.start()
        self._open.callback(metrics.close)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Serve asks for the application once the constructor is through."""
        return build_api(self._services)

    async def report(self) -> dict[str, Any]:
        """What each deployment says of itself within 2 s; one that does not answer is named with its error."""
        names = list(self._reporters)
        said = await asyncio.gather(*(self._ask(name) for name in names))
        return {"deployments": dict(zip(names, said, strict=True))}

    async def _ask(self, name: str) -> Any:
        try:
            return await asyncio.wait_for(_awaited(self._reporters[name].status.remote()), STATUS_TIMEOUT_S)
        except TimeoutError:
            return {"error": f"{name}: no answer within {STATUS_TIMEOUT_S:g} s; `serve status` shows its replicas"}
        except RayError as error:
            return {"error": f"{name}: {error}"}

    def __del__(self) -> None:
        self._open.close()


async def _awaited(response: Any) -> Any:
    return await response
