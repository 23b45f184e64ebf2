"""`foveal status`: is it up, where, and how are its replicas."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from foveal.exits import Exit

__all__ = ["status"]


def status(as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """Show the session of this folder. Exit code 3 where none is up, 1 where it failed or waits for a service.

    Examples:

        foveal status

        foveal status --json | jq .loops.PerceptionActor.lag_records
    """
    from foveal.settings import home_folder
    from foveal.supervisor import read_state

    state = read_state(home_folder())
    if state is None or (not state.alive and state.state != "failed"):
        typer.echo(json.dumps({"state": "down"}) if as_json else "down: nothing is up; `foveal up` starts it")
        raise typer.Exit(Exit.UNREACHABLE)
    if as_json:
        typer.echo(json.dumps(asdict(state), indent=2))
    else:
        typer.echo(f"{state.state}  pid {state.pid}  {state.error or state.step}")
        for name, address in (state.info or {}).items():
            typer.echo(f"  {name:<18} {address}")
        for name, loop in state.loops.items():
            typer.echo(f"  {name:<18} {'  '.join(f'{key} {value}' for key, value in loop.items())}")
    waiting = any(loop.get("waiting_for") for loop in state.loops.values())
    if state.state == "failed" or waiting:
        raise typer.Exit(Exit.CHECK_FAILED)
