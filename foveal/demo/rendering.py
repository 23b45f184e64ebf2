"""The demo's room rendered on this machine, where Mitsuba is installed; once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from foveal.demo.inputs import InputMissingError
from foveal.renderer import RendererError, run_renderer

__all__ = ["render_room"]

# A third of the committed sequence's, denoised as they are: nobody waits four minutes for a comparison.
REFERENCE_SPP = 16


def render_room(media: Path, progress: Callable[[int, int], None], *, frames: int | None = None) -> Path:
    """The folder of the rendered sequence, kept under `media` once it is done; a stopped run goes on where it was.

    progress: gets the frames that are done, and all. frames: fewer than the scene's own number.
    Raises: InputMissingError with what the renderer said last.
    """
    folder = media / "room"
    if (folder / "sequence.json").is_file():
        return folder
    arguments = ["demo", "--run", str(media), "--out", str(folder), "--reference-spp", str(REFERENCE_SPP)]
    if frames is not None:
        arguments += ["--frames", str(frames)]
    try:
        for done, count in run_renderer("training.ssr", arguments):
            progress(done, count)
    except RendererError as error:
        raise InputMissingError(f"the room is not rendered here: {error}") from error
    return folder
