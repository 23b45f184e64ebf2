"""`foveal doctor`: is everything here that Foveal needs, and what to do where not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from foveal.exits import Exit

__all__ = ["doctor"]


def doctor(
    config: Annotated[Path | None, typer.Option(help="Settings in YAML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check Java, Kafka, Redis, Ray, the engines, disk, shared memory and the clock. Exit code 1 where one failed.

    Examples:

        foveal doctor

        foveal doctor --json | jq '.[] | select(.status != "ok")'
    """
    from rich.console import Console
    from rich.markup import escape

    from foveal.checks import Check, run_checks
    from foveal.settings import home_folder, load_settings

    console = Console()
    found: list[Check] = []
    for check in run_checks(load_settings(config), home_folder()):
        found.append(check)
        if not as_json:
            colour = {"ok": "green", "warning": "yellow", "failed": "red"}[check.status]
            console.print(f"[{colour}]{check.status:<8}[/] {check.name:<14} {escape(check.found)}", highlight=False)
            if check.remedy:
                console.print(f"         {'':<14} [dim]->[/] {escape(check.remedy)}", highlight=False)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(check) for check in found], indent=2))
    if any(check.status == "failed" for check in found):
        raise typer.Exit(Exit.CHECK_FAILED)
