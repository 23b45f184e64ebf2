"""`foveal down`: end what `foveal up` started, and leave nothing."""

from __future__ import annotations

import json
from typing import Annotated

import typer

__all__ = ["down"]


def down(as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False) -> None:
    """Flush and commit, then stop the application, Ray and the local stack. Data stays in the home folder.

    Example:

        foveal down
    """
    from foveal.settings import home_folder
    from foveal.supervisor import take_down

    stopped = take_down(home_folder())
    typer.echo(json.dumps({"stopped": stopped}) if as_json else "down" if stopped else "nothing was up")
