"""The `foveal` command: one file a command in `foveal/commands`, put together here."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from foveal.commands import (
    adapt,
    audit,
    demo,
    doctor,
    down,
    enroll,
    express,
    gallery,
    gallery_care,
    gallery_changes,
    gallery_crops,
    gallery_provisional,
    gallery_reembed,
    models,
    push,
    reconstruct,
    render,
    schema,
    search,
    status,
    up,
    watch,
)
from foveal.exits import exit_code_of

__all__ = ["app", "main"]

GALLERY_PARTS = (gallery_care, gallery_changes, gallery_crops, gallery_provisional, gallery_reembed)
"""They add their commands to `gallery.app` when they are imported."""

app = typer.Typer(
    name="foveal",
    help="Distributed real-time vision: frames in on Kafka, people, expressions and renders out.",
    epilog="Exit codes: 0 done, 1 a check failed, 2 bad usage or setting, 3 a service cannot be reached.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for module in (
    up,
    down,
    status,
    push,
    watch,
    enroll,
    search,
    audit,
    schema,
    render,
    reconstruct,
    express,
    adapt,
    demo,
    doctor,
):
    name = module.__name__.rsplit(".", 1)[-1]
    app.command(name)(getattr(module, name))
gallery.app.command("enroll")(enroll.enroll)
app.add_typer(gallery.app, name="gallery")
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command; an error of ours becomes one clear message and a documented exit code, anything else a trace."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        code = exit_code_of(error)
        if code is None:
            raise
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        sys.exit(code)
