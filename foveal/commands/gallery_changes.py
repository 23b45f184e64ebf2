"""`foveal gallery merge|split|undo|negative`: corrections by people, each with its way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.commands.gallery import Config, Json, Name, Reason, app, open_store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gallery.schema import Change

__all__ = ["merge", "negative", "split", "undo"]


@app.command("merge")
def merge(
    gallery: Name,
    identity: Annotated[str, typer.Argument(help="The identity that ends.")],
    into: Annotated[str, typer.Argument(help="The identity that it becomes part of.")],
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Two identities are one person: vectors, negatives and sightings of the first go to the second.

    Example:

        foveal gallery merge lobby 3f2a9c 77b012 --reason "the same coat"
    """
    from gallery import changes

    with open_store(config) as store:
        done = changes.merge(store, gallery, identity, into=into, reason=reason)
    _say(done, gallery, f"{identity} is part of {into} now", as_json)


@app.command("split")
def split(
    gallery: Name,
    identity: Annotated[str, typer.Argument(help="The identity that two people share.")],
    vectors: Annotated[list[int], typer.Argument(help="Numbers of the vectors that are somebody else.")],
    new_id: Annotated[str | None, typer.Option("--id", help="The new identity's id; made up when left out.")] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="The new identity's name.")] = None,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Some vectors of an identity are somebody else: they become an identity of their own.

    `foveal gallery show GALLERY IDENTITY` lists the numbers.

    Example:

        foveal gallery split lobby 3f2a9c 4 7 --name "the other one"
    """
    from gallery import changes

    with open_store(config) as store:
        done = changes.split(store, gallery, identity, vectors, new_id=new_id, name=name, reason=reason)
    _say(done, gallery, f"vectors {', '.join(map(str, vectors))} of {identity} are {done.into} now", as_json)


@app.command("undo")
def undo(
    gallery: Name,
    change: Annotated[int | None, typer.Argument(help="The change's number; the newest when left out.")] = None,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take a merge, a split or a negative back. `foveal gallery show GALLERY --changes` lists them.

    Examples:

        foveal gallery undo lobby

        foveal gallery undo lobby 12 --reason "they are two"
    """
    from gallery import changes

    with open_store(config) as store:
        done = changes.undo(store, gallery, change, reason=reason)
    typer.echo(done.model_dump_json(indent=2) if as_json else f"undone: {done.op} {done.number} of {done.identity_id}")


@app.command("negative")
def negative(
    gallery: Name,
    identity: Annotated[str, typer.Argument(help="The identity that it is not.")],
    images: Annotated[
        list[Path] | None, typer.Argument(help="Pictures of who was taken for it.", exists=True, dir_okay=False)
    ] = None,
    other: Annotated[str | None, typer.Option("--other", help="Another identity: the two are two people.")] = None,
    box: Annotated[str | None, typer.Option(help="x1,y1,x2,y2 in pixels: the person in each picture.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Each picture is one person, edge to edge.")] = False,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """This is not that person: holds from the next frame on, in every replica.

    Examples:

        foveal gallery negative lobby 3f2a9c mistaken.jpg

        foveal gallery negative lobby 3f2a9c --other 77b012
    """
    from gallery import changes

    if (not images) == (other is None):
        raise typer.BadParameter("give either pictures or --other", param_hint="IMAGES / --other")
    done: Change | None
    with open_store(config) as store:
        if other is not None:
            done = changes.keep_apart(store, gallery, identity, other, reason=reason)
        else:
            store.show(gallery, identity)  # a negative of nobody would make an identity of its own
            store.enrol(
                gallery,
                _embedded(images or [], box, crop, config),
                identity_id=identity,
                polarity="negative",
                reason=reason,
            )
            done = changes.list_changes(store, gallery)[0]
    if done is None:
        typer.echo(json.dumps(None) if as_json else f"{identity} and {other} were known to be two people before")
        return
    _say(done, gallery, f"noted: not {identity}", as_json)


def _embedded(images: list[Path], box: str | None, crop: bool, config: Path | None) -> NDArray[np.float32]:
    """float32 [N, D]."""
    import numpy as np

    from actors.pictures import PersonEmbedder, decode_picture, parse_box
    from foveal.settings import load_settings

    embedder = PersonEmbedder.of(load_settings(config))
    place = parse_box(box) if box else None
    pictures = [decode_picture(path.read_bytes(), str(path)) for path in images]
    return np.stack([embedder.embed(picture, box_xyxy=place, whole=crop).embedding for picture in pictures])


def _say(done: Change, gallery: str, text: str, as_json: bool) -> None:
    undo_by = f"`foveal gallery undo {gallery} {done.number}` takes it back"
    typer.echo(done.model_dump_json(indent=2) if as_json else f"{text}; {undo_by}")
