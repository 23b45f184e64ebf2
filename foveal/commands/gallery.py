"""`foveal gallery ...`: what is in Redis; here list, create, show, remove and threshold."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.exits import Exit

if TYPE_CHECKING:
    from gallery.store import GalleryStore

__all__ = ["Config", "Json", "Name", "Reason", "app", "open_store", "when"]

app = typer.Typer(help="Galleries of known people, and their government.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The gallery's name.")]
Config = Annotated[Path | None, typer.Option(help="Settings in YAML.")]
Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; goes into the audit trail.")]


@app.command("list")
def list_galleries(config: Config = None, as_json: Json = False) -> None:
    """Every gallery with its size, model epoch and threshold.

    Example:

        foveal gallery list --json | jq '.[].name'
    """
    with open_store(config) as store:
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
    changes: Annotated[bool, typer.Option("--changes", help="The changes that can be undone.")] = False,
    trail: Annotated[bool, typer.Option("--audit", help="Who changed what, when and why: the newest 100.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Who is in a gallery, or one identity with its vectors and newest sightings.

    Examples:

        foveal gallery show lobby

        foveal gallery show lobby 3f2a9c --json | jq .vectors

        foveal gallery show lobby --changes
    """
    if changes or trail:
        _show_history(gallery, changes, config, as_json)
        return
    with open_store(config) as store:
        if identity is None:
            people = store.list_identities(gallery)
            if as_json:
                typer.echo(json.dumps([p.model_dump(exclude={"vectors"}) for p in people], indent=2))
                return
            typer.echo(f"{'identity':<34}{'name':<24}{'vectors':>8}  last seen")
            for p in people:
                typer.echo(f"{p.identity_id:<34}{p.name or '-':<24}{p.vector_count:>8}  {when(p.last_seen_at_ms)}")
            return
        one = store.show(gallery, identity)
        seen = store.sightings(gallery, identity, limit=10)
    if as_json:
        typer.echo(json.dumps(one.model_dump() | {"sightings": [s.model_dump() for s in seen]}, indent=2))
        return
    typer.echo(f"{one.name or '-'}  {one.identity_id}  enrolled {when(one.created_at_ms)}")
    for vector in one.vectors:
        quality = "" if vector.quality is None else f", quality {vector.quality:.2f}"
        said = vector.fault or f"{vector.polarity}, {vector.epoch}, {when(vector.enrolled_at_ms)}{quality}"
        typer.echo(f"  vector {vector.number}: {said}")
    for sighting in seen:
        score = "" if sighting.score is None else f", cosine {sighting.score:.3f}"
        typer.echo(f"  seen {when(sighting.seen_at_ms)} on {sighting.stream_id}{score}")


@app.command("remove")
def remove(
    gallery: Name,
    identity: Annotated[str | None, typer.Argument(help="An identity's id; the whole gallery with --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete the gallery with everyone in it.")] = False,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Really delete an identity and prove it, or with --all delete a whole gallery: hashes, vectors, sightings.

    The proof: no key of the gallery names the identity any more, and every running replica has forgotten it. The
    audit trail keeps its id, nothing else. Exit code 1 where something is left.

    Examples:

        foveal gallery remove lobby 3f2a9c --reason "asked to be forgotten"

        foveal gallery remove lobby 3f2a9c --json | jq .proven

        foveal gallery remove lobby --all
    """
    from gallery.proof import prove

    if (identity is None) != everything:
        raise typer.BadParameter("give either an identity's id or --all", param_hint="IDENTITY / --all")
    with open_store(config) as store:
        if identity is None:
            store.remove_gallery(gallery, reason=reason)
            removed = {"gallery": gallery, "identity_id": None}
            typer.echo(json.dumps(removed) if as_json else f"removed everything from the gallery {gallery!r}")
            return
        receipt = prove(store, store.remove(gallery, identity, reason=reason))
    done = receipt.removed
    if as_json:
        typer.echo(receipt.model_dump_json(indent=2))
    else:
        typer.echo(
            f"removed {identity} from {gallery!r}: {done.vectors} vectors, {done.sightings} sightings, "
            f"{done.crops} crops"
        )
        typer.echo(f"{len(receipt.replicas)} running replicas have forgotten it, after {receipt.waited_s:.2f} s")
        for left in (*receipt.keys_left, *receipt.replicas_left):
            typer.echo(f"LEFT: {left}")
    if not receipt.proven:
        raise typer.Exit(Exit.CHECK_FAILED)


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
    with open_store(config) as store:
        if value is not None:
            store.set_threshold(gallery, value)
        info = store.info(gallery)
    typer.echo(
        json.dumps({"gallery": gallery, "threshold": info.threshold}) if as_json else f"{gallery}: {info.threshold:g}"
    )


def _show_history(gallery: str, changes: bool, config: Path | None, as_json: bool) -> None:
    from gallery.changes import list_changes

    with open_store(config) as store:
        store.info(gallery)
        found = [c.model_dump() for c in list_changes(store, gallery)] if changes else store.audit(gallery)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for one in found:
        if changes:
            what = f"{one['number']:>5}  {one['op']:<9} {one['identity_id']} -> {one['into']}"
        else:
            what = f"{one['op']:<9} {one['identity']}"
        typer.echo(f"{when(int(one['at_ms']))}  {what}  by {one['who']}  {one['reason']}".rstrip())


def open_store(config: Path | None) -> GalleryStore:
    """The store of the settings; the audit trail names the person who runs the command."""
    from foveal.settings import load_settings
    from gallery.store import GalleryStore

    try:
        who = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        who = "nobody"
    return GalleryStore(load_settings(config).gallery, who=f"foveal gallery/{who}")


def when(at_ms: int | None) -> str:
    """A time for people."""
    if at_ms is None:
        return "-"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
