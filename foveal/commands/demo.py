"""`foveal demo`: the main job on real input, from nothing to videos and an audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foveal.exits import Exit

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Where videos, pictures and summary.json go.")] = Path("out/demo"),
    seconds: Annotated[float, typer.Option(min=1, help="Play at most so much of each input.")] = 20.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything up afterwards, to look around.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON; no live table.")] = False,
) -> None:
    """Play a talking face, a street and a path-traced sequence through the whole service, live.

    Starts Kafka, Valkey and Ray, deploys the application, plays three real inputs at their own frame rate, shows a
    live table, and leaves in `out/demo/` an annotated video a stream, the reconstructed frames, a contact sheet and
    summary.json. Stops all that it started. Exit code 1 where the audit finds an offset without exactly one outcome.

    Examples:

        foveal demo

        foveal demo --seconds 60 --out /tmp/demo

        foveal demo --keep
    """
    from foveal.demo.run import run_demo

    if not run_demo(out, seconds=seconds, keep=keep, as_json=as_json):
        raise typer.Exit(Exit.CHECK_FAILED)
