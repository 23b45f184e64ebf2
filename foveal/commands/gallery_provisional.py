"""`foveal gallery provisional|name`: unknown people who are remembered, and how one of them becomes known."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from foveal.commands.gallery import Config, Json, Name, Reason, app, open_store

__all__ = ["name_identity", "provisional"]

DAY_S = 86_400


@app.command("provisional")
def provisional(
    gallery: Name,
    at_most: Annotated[int | None, typer.Option(min=1, help="Beyond it the longest unseen one goes.")] = None,
    days: Annotated[float | None, typer.Option(min=0.0001, help="Gone when not seen for so long.")] = None,
    surer_by: Annotated[
        float | None, typer.Option(min=0, max=1, help="Two are one from threshold and this on.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Remember nobody new; those that are there stay.")] = False,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Remember unknown people as provisional identities, under bounds; off until one is given.

    Without options: the policy as it is, and who is remembered.

    Examples:

        foveal gallery provisional lobby --at-most 500 --days 2

        foveal gallery provisional lobby --json | jq '.identities'

        foveal gallery provisional lobby --off
    """
    from gallery.provisional import provisional_ids, set_policy
    from gallery.schema import ProvisionalPolicy

    given = {
        "at_most": at_most,
        "expire_after_s": None if days is None else max(1, round(days * DAY_S)),
        "surer_by": surer_by,
    }
    chosen = {key: value for key, value in given.items() if value is not None}
    if off and chosen:
        raise typer.BadParameter("give either --off or bounds", param_hint="--off")
    with open_store(config) as store:
        before = store.info(gallery).provisional
        if off:
            set_policy(store, gallery, None, reason=reason)
        elif chosen:
            policy = ProvisionalPolicy.model_validate((before.model_dump() if before else {}) | chosen)
            set_policy(store, gallery, policy, reason=reason)
        now, ids = store.info(gallery).provisional, provisional_ids(store, gallery)
    if as_json:
        typer.echo(json.dumps({"policy": None if now is None else now.model_dump(), "identities": ids}, indent=2))
        return
    if now is None:
        typer.echo(f"{gallery}: unknown people are not remembered")
    else:
        typer.echo(f"{gallery}: at most {now.at_most:,}, each for {now.expire_after_s / DAY_S:g} days unseen")
    typer.echo(f"{len(ids):,} are remembered; `foveal gallery name {gallery} ID NAME` makes one known")


@app.command("name")
def name_identity(
    gallery: Name,
    identity: Annotated[str, typer.Argument(help="The identity's id.")],
    name: Annotated[str, typer.Argument(help="The name it gets.")],
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Name an identity. A provisional one is known from then on, in every replica within a second.

    Example:

        foveal gallery name lobby provisional-1c9f "Ada Lovelace"
    """
    from gallery import provisional

    with open_store(config) as store:
        done = provisional.name_identity(store, gallery, identity, name, reason=reason)
    typer.echo(json.dumps({"identity_id": done, "name": name}) if as_json else f"{done} is {name} now")
