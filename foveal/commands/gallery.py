"""`foveal gallery list|create|show|remove|threshold`: what is in Redis."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gallery.store import GalleryStore

__all__ = ["app"]

app = typer.Typer(help="Galleries of known people: list, create, show, remove, threshold.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The gallery's name.")]
Config = Annotated[Path | None, typer.Option(help="Settings in YAML.")]
Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@app.command("list")
def list_galleries(config: Config = None, as_json: Json = False) -> None:
    """Every gallery with its size, model epoch and threshold.

    Example:

        foveal gallery list --json | jq '.[].name'
    """
    with _store(config) as store:
        found = store.list_galleries()
    if as_json:
        typer.echo(json.dumps([info.model_dump() for info in found], indent=2))
        return
    if not found:
        typer.echo("no galleries; `foveal gallery create NAME` or `foveal enroll` makes one")
        return
    typer.echo(f"{'gallery':<24}{'identities':>11}  {'threshold':>9}  {'numbers':>7}  epoch")
    for info in found:
        typer.echo(f"{info.name:<24}{info.identities:>11,}  {info.threshold:>9.3f}  {info.dimension:>7}  {info.epoch}")


@app.command("create")
def create(
    gallery: Name,
    threshold: Annotated[float | None, typer.Option(min=-1, max=1, help="Cosine from which a match is known.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make a gallery for this version's ReID network; one that is there already stays as it is.

    Example:

        foveal gallery create lobby --threshold 0.62
    """
    from foveal.gallery import Gallery
    from foveal.settings import load_settings

    with Gallery(gallery, config=load_settings(config)) as opened:
        info = opened.create(threshold=threshold)
    typer.echo(
        info.model_dump_json(indent=2)
        if as_json
        else f"gallery {info.name!r}: epoch {info.epoch}, {info.dimension} numbers, threshold {info.threshold:.3f}"
    )


@app.command("show")
def show(
    gallery: Name,
    identity: Annotated[str | None, typer.Argument(help="An identity's id; all of them when left out.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Who is in a gallery, or one identity with its vectors and newest sightings.

    Examples:

        foveal gallery show lobby

        foveal gallery show lobby 3f2a9c --json | jq .vectors
    """
    with _store(config) as store:
        if identity is None:
            people = store.list_identities(gallery)
            if as_json:
                typer.echo(json.dumps([p.model_dump(exclude={"vectors"}) for p in people], indent=2))
                return
            typer.echo(f"{'identity':<34}{'name':<24}{'vectors':>8}  last seen")
            for p in people:
                typer.echo(f"{p.identity_id:<34}{p.name or '-':<24}{p.vector_count:>8}  {_when(p.last_seen_at_ms)}")
            return
        one = store.show(gallery, identity)
        seen = store.sightings(gallery, identity, limit=10)
    if as_json:
        typer.echo(json.dumps(one.model_dump() | {"sightings": [s.model_dump() for s in seen]}, indent=2))
        return
    typer.echo(f"{one.name or '-'}  {one.identity_id}  enrolled {_when(one.created_at_ms)}")
    for vector in one.vectors:
        said = vector.fault or f"{vector.polarity}, {vector.epoch}, {_when(vector.enrolled_at_ms)}"
        typer.echo(f"  vector {vector.number}: {said}")
    for sighting in seen:
        score = "" if sighting.score is None else f", cosine {sighting.score:.3f}"
        typer.echo(f"  seen {_when(sighting.seen_at_ms)} on {sighting.stream_id}{score}")


@app.command("remove")
def remove(
    gallery: Name,
    identity: Annotated[str | None, typer.Argument(help="An identity's id; the whole gallery with --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete the gallery with everyone in it.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Really delete an identity, or with --all a whole gallery: hashes, vectors, sightings.

    Every running replica forgets it within a second. The audit trail keeps its id, nothing else.

    Examples:

        foveal gallery remove lobby 3f2a9c

        foveal gallery remove lobby --all
    """
    if (identity is None) != everything:
        raise typer.BadParameter("give either an identity's id or --all", param_hint="IDENTITY / --all")
    with _store(config) as store:
        if identity is None:
            store.remove_gallery(gallery)
        else:
            store.remove(gallery, identity)
    removed = {"gallery": gallery, "identity_id": identity}
    typer.echo(json.dumps(removed) if as_json else f"removed {identity or 'everything'} from the gallery {gallery!r}")


@app.command("threshold")
def threshold(
    gallery: Name,
    value: Annotated[float | None, typer.Argument(min=-1, max=1, help="Cosine from which a match is known.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show a gallery's threshold, or set it; every running replica has it within a second.

    Examples:

        foveal gallery threshold lobby

        foveal gallery threshold lobby 0.65
    """
    with _store(config) as store:
        if value is not None:
            store.set_threshold(gallery, value)
        info = store.info(gallery)
    typer.echo(
        json.dumps({"gallery": gallery, "threshold": info.threshold}) if as_json else f"{gallery}: {info.threshold:g}"
    )


def _store(config: Path | None) -> GalleryStore:
    from foveal.settings import load_settings
    from gallery.store import GalleryStore

    return GalleryStore(load_settings(config).gallery, who="foveal gallery")


def _when(at_ms: int | None) -> str:
    if at_ms is None:
        return "-"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
