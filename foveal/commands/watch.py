"""`foveal watch`: live results in the terminal."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

if TYPE_CHECKING:
    from foveal.results import Result

__all__ = ["watch"]

Role = Literal["people", "expressions", "renders"]
ROLES: tuple[Role, ...] = get_args(Role)


def watch(
    streams: Annotated[str, typer.Argument(help="Shell pattern on the stream's id.")] = "*",
    role: Annotated[list[str] | None, typer.Option(help="people, expressions, renders; may be repeated.")] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Start with the oldest kept.")] = False,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="Stop after so many; 0: on Ctrl-C.")] = 0,
    config: Annotated[Path | None, typer.Option(help="Settings in YAML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show committed results as they come.

    Examples:

        foveal watch

        foveal watch 'door-*' --role people

        foveal watch --json -n 100 | jq .message.people
    """
    from foveal.results import Results
    from foveal.settings import load_settings

    roles = tuple(one for one in ROLES if not role or one in role)
    if unknown := set(role or ()) - set(ROLES):
        raise typer.BadParameter(f"expected {', '.join(ROLES)}, got {', '.join(sorted(unknown))}", param_hint="--role")
    shown = 0
    settings = load_settings(config).streams
    with Results(*roles, streams=streams, from_beginning=from_beginning, config=settings) as results:
        for result in results:
            typer.echo(_json_line(result) if as_json else _line(result))
            shown += 1
            if shown == count:
                return


def _json_line(result: Result) -> str:
    return json.dumps(
        {
            "role": result.role,
            "id": str(result.origin),
            "appended_at_ms": result.appended_at_ms,
            "payload_bytes": len(result.payload),
            "message": result.message.model_dump(mode="json"),
        }
    )


def _line(result: Result) -> str:
    from streams.messages import ExpressionsResult, PeopleResult

    message = result.message
    if isinstance(message, PeopleResult):
        names = [p.identity.name or p.identity.identity_id for p in message.people if p.identity.status == "known"]
        said = f"{len(message.people)} people" + (f": {', '.join(map(str, names))}" if names else "")
    elif isinstance(message, ExpressionsResult):
        said = ", ".join(
            f"{shown.label} {shown.probabilities[shown.label]:.2f}"
            if (shown := face.shown)
            else f"unreadable ({face.unreadable})"
            for face in message.faces
        )
        said = said or "no face"
    else:
        said = f"{message.content} {len(result.payload):,} bytes, history {message.history_frames}"
        said += f", reset: {message.reset_reason}" if message.reset_reason else ""
    clock = time.strftime("%H:%M:%S", time.localtime(result.appended_at_ms / 1000))
    return f"{clock}  {message.stream_id:<16} #{message.seq:<7} {result.latency_ms:7.0f} ms  {result.role:<12} {said}"
