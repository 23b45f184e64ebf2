"""`foveal up`: the whole application on this machine, from nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["up"]


def up(
    config: Annotated[Path | None, typer.Option(help="Settings in YAML; configs/local.yaml where it is.")] = None,
    detach: Annotated[bool, typer.Option(help="Return when it is up; --no-detach holds it until Ctrl-C.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON.")] = False,
) -> None:
    """Start Kafka and Valkey (unless their addresses are set), Ray, the topics and the application.

    Examples:

        foveal up

        FOVEAL_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 foveal up --config configs/cluster.yaml --no-detach
    """
    import os
    import threading

    from actors.config import load_config
    from actors.named import ensure_networks
    from foveal.session import LocalSession, reach_named_services
    from foveal.settings import home_folder
    from foveal.supervisor import bring_up

    path = config if config is not None else _default_config()
    home = home_folder()

    def say(line: str) -> None:
        typer.echo(line, err=True)

    if detach:
        # A wrong setting or an absent service is said here, not in a log file.
        settings = load_config(path, dict(os.environ))
        ensure_networks(settings)
        reach_named_services(settings)
        state = bring_up(path, home, say=say)
        _show(state.info or {}, as_json)
        return
    with LocalSession(load_config(path, dict(os.environ)), home, say=say) as session:
        _show(session.info.to_dict(), as_json)
        typer.echo("Ctrl-C ends it", err=True)
        threading.Event().wait()


def _default_config() -> Path | None:
    path = Path("configs/local.yaml")
    return path if path.is_file() else None


def _show(info: dict[str, object], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(info, indent=2))
        return
    typer.echo(f"Kafka    {info['bootstrap_servers']}")
    typer.echo(f"Redis    {info['redis_url']}")
    typer.echo(f"Gateway  {info['gateway_url'] or 'off'}")
    typer.echo(f"Metrics  {info['metrics_url']}")
    typer.echo("up. `foveal push VIDEO` sends frames, `foveal watch` shows results, `foveal down` ends it.")
