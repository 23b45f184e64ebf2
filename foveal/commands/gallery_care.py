"""`foveal gallery calibrate|check|export|import|expiry`: keeping a gallery well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from foveal.commands.gallery import Config, Json, Name, Reason, app, open_store
from foveal.exits import Exit

__all__ = ["calibrate", "check", "expiry", "export_file", "import_file"]


@app.command("calibrate")
def calibrate(
    gallery: Name,
    fpir: Annotated[float, typer.Option(help="The share of strangers that may be taken for somebody.")] = 0.01,
    strangers: Annotated[
        Path | None, typer.Option(help="Embeddings of strangers, .npy [N, D]; else the gallery's own are used.")
    ] = None,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Set the threshold from data, and what turns scores into probabilities.

    Without strangers each vector is searched among everybody else's: enrol 30 people or more, better hundreds.

    Examples:

        foveal gallery calibrate lobby --fpir 0.01

        foveal gallery calibrate lobby --fpir 0.001 --strangers passers-by.npy --json | jq .threshold
    """
    import numpy as np

    from gallery.calibration import calibrate_gallery

    outside = None if strangers is None else np.load(strangers, allow_pickle=False)
    with open_store(config) as store:
        found = calibrate_gallery(store, gallery, fpir, strangers=outside, reason=reason)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    by = "read off" if found.method == "quantile" else "from the tail's fit: strangers are few for so small a share"
    missed = "" if found.missed is None else f"; {found.missed:.1%} of known searches are missed at it"
    typer.echo(f"{gallery}: threshold {found.threshold:.4f} for {fpir:.2%} of strangers ({by}){missed}")
    typer.echo(f"from {found.stranger_searches:,} searches of strangers and {found.known_searches:,} of known people")


@app.command("check")
def check(gallery: Name, config: Config = None, as_json: Json = False) -> None:
    """How well a gallery is: damage, replicas behind, canaries, drift, duplicate suspects. Exit code 1 for a fault.

    Examples:

        foveal gallery check lobby

        foveal gallery check lobby --json | jq '.findings[].what'
    """
    from gallery.health import check_gallery

    with open_store(config) as store:
        found = check_gallery(store, gallery)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        looks = sum(replica.canaries for replica in found.replicas)
        drifted = "-" if found.drift is None else f"{found.drift:.2f}"
        typer.echo(f"{gallery}: {found.identities:,} identities, {found.vectors:,} vectors")
        typer.echo(f"{len(found.replicas)} replicas; canaries looked up: {looks:,}; drift {drifted}")
        for pair in found.duplicate_suspects:
            typer.echo(f"  one person? {pair.identity_id}  {pair.other_id}  cosine {pair.score:.3f}")
        for finding in found.findings:
            typer.echo(f"{finding.level}: {finding.what}; {finding.remedy}")
        if not found.findings:
            typer.echo("nothing found")
    if not found.healthy:
        raise typer.Exit(Exit.CHECK_FAILED)


@app.command("export")
def export_file(
    gallery: Name,
    file: Annotated[Path, typer.Argument(help="Where to, for example lobby.npz.", dir_okay=False)],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write a gallery to one file that only you can read: it holds what identifies people.

    Example:

        foveal gallery export lobby lobby.npz
    """
    from gallery.transfer import export_gallery

    with open_store(config) as store:
        done = export_gallery(store, gallery, file)
    typer.echo(
        done.model_dump_json(indent=2)
        if as_json
        else f"{file}: {done.identities:,} identities, {done.vectors:,} vectors, {done.left_out:,} left out"
    )


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A file that export wrote.", exists=True, dir_okay=False)],
    name: Annotated[str | None, typer.Option("--name", help="Under another name.")] = None,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Read such a file into a gallery, made where it is not there. The same file again adds nothing.

    Example:

        foveal gallery import lobby.npz --name lobby-2
    """
    from gallery.transfer import import_gallery

    with open_store(config) as store:
        done = import_gallery(store, file, name=name, reason=reason)
    typer.echo(
        done.model_dump_json(indent=2)
        if as_json
        else f"{done.gallery}: {done.identities:,} identities, {done.vectors:,} vectors, {done.left_out:,} left out"
    )


@app.command("expiry")
def expiry(
    gallery: Name,
    days: Annotated[float | None, typer.Argument(min=0.001, help="Days; shown when left out.")] = None,
    never: Annotated[bool, typer.Option("--never", help="Keep everybody.")] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Remove who is due now; a running gateway does so hourly.")
    ] = False,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let identities go that were neither seen nor changed for so long.

    Examples:

        foveal gallery expiry lobby 90

        foveal gallery expiry lobby --never
    """
    with open_store(config) as store:
        if days is not None or never:
            store.set_expiry(gallery, None if never or days is None else round(days * 86_400), reason=reason)
        gone = store.expire(gallery) if now else []
        after_s = store.info(gallery).expire_after_s
    if as_json:
        typer.echo(json.dumps({"gallery": gallery, "expire_after_s": after_s, "removed": gone}))
        return
    typer.echo(f"{gallery}: " + ("everybody is kept" if after_s is None else f"{after_s / 86_400:g} days"))
    for identity in gone:
        typer.echo(f"removed {identity}")
