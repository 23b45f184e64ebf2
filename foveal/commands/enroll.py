"""`foveal enroll`: put a person's pictures into a gallery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["enroll"]


def enroll(
    images: Annotated[list[Path], typer.Argument(help="Pictures of one person.", exists=True, dir_okay=False)],
    name: Annotated[str, typer.Option("--name", "-n", help="The person's name; a known one gets more vectors.")],
    gallery: Annotated[str, typer.Option("--gallery", "-g", help="Made where it is not there.")] = "default",
    identity: Annotated[str | None, typer.Option("--id", help="The identity's own id, where names repeat.")] = None,
    box: Annotated[str | None, typer.Option(help="x1,y1,x2,y2 in pixels: the person in each picture.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Each picture is one person, edge to edge.")] = False,
    negative: Annotated[bool, typer.Option("--negative", help="Each picture is NOT this person.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings in YAML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was enrolled as JSON.")] = False,
) -> None:
    """Enrol a person: the largest one that the detector finds in each picture, or the one in the box.

    Every running replica knows the person within a second.

    Examples:

        foveal enroll --gallery lobby --name "Ada Lovelace" ada-1.jpg ada-2.jpg

        foveal enroll -g lobby -n Bob street.png --box 120,40,180,220

        foveal enroll -g lobby -n Bob crop.png --crop --json | jq .identity_id
    """
    from actors.pictures import decode_picture, parse_box
    from foveal.gallery import Gallery
    from foveal.settings import load_settings

    place = parse_box(box) if box else None
    identity_id, vectors = identity, 0
    with Gallery(gallery, config=load_settings(config)) as opened:
        for path in images:
            done = opened.enrol(
                name,
                image_bgr=decode_picture(path.read_bytes(), str(path)),
                box=place,
                whole=crop,
                identity_id=identity_id,
                polarity="negative" if negative else "positive",
            )
            identity_id, vectors = done.identity_id, vectors + len(done.vector_numbers)
    if as_json:
        typer.echo(json.dumps({"gallery": gallery, "identity_id": identity_id, "name": name, "vectors_added": vectors}))
    else:
        kind = "negative vector" if negative else "vector"
        typer.echo(
            f"{name}: {vectors} {kind}{'s' * (vectors != 1)} added to the gallery {gallery!r}, identity {identity_id}"
        )
