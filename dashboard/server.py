"""The page and its server-sent events (WHATWG HTML, section 9.2): one snapshot a second to each open page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route

__all__ = ["build_page"]

PAGE = Path(__file__).with_name("page.html")
PLACE = "@SNAPSHOT@"
EVERY_S = 1.0
# Nothing from elsewhere is loaded, and nothing may be.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
SECURITY = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}


def build_page(snapshot: Callable[[], dict[str, Any]]) -> Starlette:
    """The application: / is the page, /events its stream, /snapshot one answer as JSON, /healthz."""

    async def page(_request: Request) -> HTMLResponse:
        # Filled in at once, before the first event; an escaped "<" cannot end the element that it stands in.
        first = json.dumps(snapshot()).replace("<", "\\u003c")
        return HTMLResponse(PAGE.read_text(encoding="utf-8").replace(PLACE, first, 1), headers=SECURITY)

    async def events(request: Request) -> StreamingResponse:
        async def stream() -> AsyncIterator[str]:
            while not await request.is_disconnected():
                yield f"data: {json.dumps(snapshot())}\n\n"
                await asyncio.sleep(EVERY_S)

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def once(_request: Request) -> JSONResponse:
        return JSONResponse(snapshot())

    async def healthz(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/events", events),
            Route("/snapshot", once),
            Route("/healthz", healthz),
        ]
    )
