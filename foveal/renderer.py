"""The path tracer as a process of its own: Mitsuba is optional, compiles kernels, and takes its memory with it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

__all__ = ["RendererError", "mitsuba_installed", "run_renderer"]

STOP_TIMEOUT_S = 10


class RendererError(ValueError):
    """The renderer is not installed, or it refused; the message is its own."""


def mitsuba_installed() -> bool:
    """Whether this environment has Mitsuba (`make setup-train`)."""
    return importlib.util.find_spec("mitsuba") is not None


def run_renderer(module: str, arguments: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Run `python -m MODULE`; gives (frames that are done, all) as it goes. Ends the process if it is left early.

    Raises: RendererError with what the process said last.
    """
    if not mitsuba_installed():
        raise RendererError(
            "rendering needs Mitsuba, which this environment lacks; run `make setup-train` and use "
            ".venv-train/bin/foveal, or install the extra foveal[train]"
        )
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                match line.split():
                    case ["frame", done, "of", count]:
                        yield int(done), int(count)
        except BaseException:
            # Ctrl-C reaches the renderer too; whatever else ends this must not leave it behind.
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
            raise
        if process.wait() != 0:
            said.seek(0)
            lines = said.read().splitlines() or [f"the renderer ended with code {process.returncode}"]
            raise RendererError(lines[-1])
