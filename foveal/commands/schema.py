"""`foveal schema`: the wire contract as JSON Schema and AsyncAPI 3."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foveal.exits import Exit

__all__ = ["schema"]


def schema(
    name: Annotated[
        str,
        typer.Argument(
            help="asyncapi, frame-headers, gbuffer-headers, people, expressions, render, outcome, deadletter."
        ),
    ] = "asyncapi",
    out: Annotated[
        Path | None, typer.Option(help="Write all documents into this folder instead of printing one.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Compare the documents in this folder; exit code 1 where one is stale.")
    ] = None,
) -> None:
    """Print a document of the wire contract as JSON, or write or compare them all.

    Examples:

        foveal schema | jq .channels

        foveal schema people > people.schema.json

        foveal schema --out docs/schema
    """
    from streams.schema import documents, stale_documents, text_of

    if check is not None:
        stale = stale_documents(check)
        for file in stale:
            typer.echo(f"stale: {check / file}; run: foveal schema --out {check}", err=True)
        raise typer.Exit(Exit.CHECK_FAILED if stale else Exit.DONE)
    found = documents()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for file, document in found.items():
            (out / file).write_text(text_of(document))
        typer.echo(f"wrote {len(found)} documents to {out}")
        return
    short = {file.removesuffix(".json").removesuffix(".schema"): document for file, document in found.items()}
    if name not in short:
        raise typer.BadParameter(f"expected one of {', '.join(sorted(short))}, got {name!r}")
    typer.echo(text_of(short[name]), nl=False)
