"""`foveal search`: who is this, or whom do words fit?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.exits import Exit

if TYPE_CHECKING:
    from actors.wordsearch import WordSearch

__all__ = ["search"]

EVEN = 0.5


def search(
    image: Annotated[Path | None, typer.Argument(help="A picture.", exists=True, dir_okay=False)] = None,
    text: Annotated[str | None, typer.Option(help="Phrases instead, as in 'woman, red top, backpack'.")] = None,
    gallery: Annotated[str, typer.Option("--gallery", "-g", help="Where to look.")] = "default",
    top: Annotated[int, typer.Option(min=1, max=100, help="How many of the nearest to show.")] = 5,
    box: Annotated[str | None, typer.Option(help="x1,y1,x2,y2 in pixels: the person in the picture.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="The picture is one person, edge to edge.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings in YAML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Look the largest person of a picture up in a gallery, or those whom words fit.

    Exit code 1 where nobody is near enough, or the words are likelier wrong than right of everybody.

    Examples:

        foveal search --gallery lobby visitor.jpg

        foveal search -g lobby --text "woman, red top, backpack"

        foveal search -g lobby crop.png --crop --top 3 --json | jq .match
    """
    from actors.pictures import decode_picture, parse_box
    from foveal.gallery import Gallery
    from foveal.settings import load_settings

    if (image is None) == (text is None):
        raise typer.BadParameter("expected either a picture or --text, got both or neither")
    with Gallery(gallery, config=load_settings(config)) as opened:
        if image is None:
            _say_words(opened.search_by_words(str(text), top=top), as_json)
            return
        found = opened.search(
            image_bgr=decode_picture(image.read_bytes(), str(image)),
            box=parse_box(box) if box else None,
            whole=crop,
            top=top,
        )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=2))
    else:
        match = found.match
        typer.echo(
            f"known: {match.name or match.identity_id} (cosine {match.score:.3f}{_likely(match.probability)})"
            if match.status == "known"
            else f"unknown: nobody in {gallery!r} reaches the threshold of {found.threshold:.3f}"
        )
        for rank, one in enumerate(found.candidates, 1):
            typer.echo(f"{rank:>3}  {one.score:6.3f}  {one.name or '-':<24}  {one.identity_id}")
    if found.match.status != "known":
        raise typer.Exit(Exit.CHECK_FAILED)


def _say_words(found: WordSearch, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=2))
    else:
        if found.ignored:
            typer.echo(f"not understood: {', '.join(found.ignored)}")
        for rank, one in enumerate(found.candidates, 1):
            fits = ", ".join(f"{phrase.text} {phrase.probability:.2f}" for phrase in one.phrases)
            score = f"{one.score:.3f} ± {one.uncertainty:.3f}"
            typer.echo(f"{rank:>3}  {score}  {one.name or '-':<24}  {one.identity_id}  ({fits})")
    if not found.candidates or found.candidates[0].score < EVEN:
        raise typer.Exit(Exit.CHECK_FAILED)


def _likely(probability: float | None) -> str:
    return "" if probability is None else f", probability {probability:.2f}"
