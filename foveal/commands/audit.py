"""`foveal audit`: every input offset has exactly one outcome, or which have not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foveal.exits import Exit

__all__ = ["audit"]


def audit(
    topic: Annotated[list[str] | None, typer.Option(help="Input topic; both when left out; may be repeated.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings in YAML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read input and outcomes and prove that every input offset ended exactly once. Exit code 1 where one did not.

    Examples:

        foveal audit

        foveal audit --topic foveal.frames --json | jq .missing
    """
    from foveal.accounts import audit_inputs
    from foveal.settings import load_settings

    report = audit_inputs(load_settings(config), topic)
    typer.echo(report.to_json() if as_json else report.to_text())
    if not report.complete:
        raise typer.Exit(Exit.CHECK_FAILED)
