"""The demo's room rendered on this machine, where Mitsuba is installed; by a process of its own, once."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from foveal.demo.inputs import InputMissingError

__all__ = ["mitsuba_installed", "render_room"]

# A third of the committed sequence's, denoised as they are: nobody waits four minutes for a comparison.
REFERENCE_SPP = 16
STOP_TIMEOUT_S = 10


def mitsuba_installed() -> bool:
    """Whether this environment has Mitsuba (`make setup-train`)."""
    return importlib.util.find_spec("mitsuba") is not None


def render_room(media: Path, progress: Callable[[int, int], None], *, frames: int | None = None) -> Path:
    """The folder of the rendered sequence, kept under `media` once it is done; a stopped run goes on where it was.

    progress: gets the frames that are done, and all. frames: fewer than the scene's own number.
    Raises: InputMissingError with what the renderer said last.
    """
    folder = media / "room"
    if (folder / "sequence.json").is_file():
        return folder
    command = [sys.executable, "-m", "training.ssr", "demo", "--run", str(media), "--out", str(folder)]
    command += ["--reference-spp", str(REFERENCE_SPP)]
    if frames is not None:
        command += ["--frames", str(frames)]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        try:
            for line in process.stdout or ():
                match line.split():
                    case ["frame", done, "of", count]:
                        progress(int(done), int(count))
        except BaseException:
            # Ctrl-C reaches the renderer too; whatever else ends this must not leave it behind.
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
            raise
        if process.wait() != 0:
            said.seek(0)
            lines = said.read().splitlines() or [f"it ended with code {process.returncode}"]
            raise InputMissingError(f"the room is not rendered here: {lines[-1]}")
    return folder
