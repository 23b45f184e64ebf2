"""How soon a picture is good again after a restart: dB against the frames since then, on a sequence's last frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models.engine import Engine
from models.ssr.history import History
from models.ssr.metrics import protocol_exposure, psnr_db
from models.ssr.reconstructor import Reconstructor
from training.ssr.evaluate import NoSequencesError, sequences_in
from training.ssr.frames import Frame, read_frames

__all__ = ["as_markdown", "converge"]


def converge(engine: Engine, folder: Path) -> dict[str, list[float]]:
    """For each sequence PSNR in dB of the last frame that has a reference, without history, with one frame more, ...

    By the protocol of `evaluate`. The picture is always the same one, so that only the history differs. Sequences
    without references are left out. Raises: NoSequencesError if none is left, FrameFileError.
    """
    found = {}
    for sequence in sequences_in(folder):
        frames = list(read_frames(sequence))
        last = max((index for index, frame in enumerate(frames) if "reference" in frame.extras), default=None)
        if last is None:
            print(f"{sequence}: left out, no frame has a reference", flush=True)
            continue
        found[sequence.name] = [_decibels(engine, frames[first : last + 1]) for first in range(last, -1, -1)]
    if not found:
        raise NoSequencesError(f"{folder}: no frame has a reference; render it with --reference-spp")
    return found


def as_markdown(found: Mapping[str, Sequence[float]]) -> str:
    """A row for each sequence, a column for each number of frames."""
    most = max(map(len, found.values()))
    lines = ["| frames since the restart | " + " | ".join(str(count) for count in range(1, most + 1)) + " |"]
    lines.append("|---" * (most + 1) + "|")
    for name, row in found.items():
        cells = [f"{value:.1f}" for value in row] + [""] * (most - len(row))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _decibels(engine: Engine, frames: Sequence[Frame]) -> float:
    reconstructor = Reconstructor(engine)
    history: History | None = None
    for frame in frames:
        [(picture, history)] = reconstructor.reconstruct([frame.planes], [history])
    reference = frames[-1].extras["reference"]
    scale = np.float32(protocol_exposure([reference]))
    return round(psnr_db(picture * scale, reference * scale), 2)
