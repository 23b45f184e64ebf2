"""`python -m dashboard`: the operations page."""

from __future__ import annotations

from typing import Annotated

import typer
import uvicorn
from pydantic import ValidationError

from dashboard.readers import Readers
from dashboard.server import build_page
from gallery.config import GalleryConfig
from streams.config import StreamsConfig

__all__ = ["main"]


def main(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the page is served.")] = 8365,
    host: Annotated[str, typer.Option(help="Loopback by default: the page has no login.")] = "127.0.0.1",
    kafka: Annotated[
        str, typer.Option(envvar="FOVEAL_KAFKA__BOOTSTRAP_SERVERS", help="host:port, several with commas.")
    ] = "127.0.0.1:9092",
    redis: Annotated[
        str, typer.Option(envvar="FOVEAL_REDIS__URL", help="redis://host:port/db.")
    ] = "redis://127.0.0.1:6379/0",
) -> None:
    """Serve the operations page: streams, partitions, galleries, dead letters, live.

    Example:

        python -m dashboard --port 8365 --kafka 127.0.0.1:9092 --redis redis://127.0.0.1:6379/0
    """
    try:
        streams, gallery = StreamsConfig.model_validate({"bootstrap_servers": kafka}), GalleryConfig(url=redis)
    except ValidationError as error:
        raise typer.BadParameter(
            "; ".join(found["msg"] for found in error.errors()), param_hint="--kafka, --redis"
        ) from error
    with Readers(streams, gallery) as readers:
        typer.echo(f"http://{host}:{port}/")
        # An open page never ends its event stream by itself.
        uvicorn.run(
            build_page(readers.snapshot), host=host, port=port, log_level="warning", timeout_graceful_shutdown=1
        )


if __name__ == "__main__":
    typer.run(main)
