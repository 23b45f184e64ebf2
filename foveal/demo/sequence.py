"""The demo's G-buffers: the project's own path-traced room, at a quarter of a sample per pixel, with references."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.tonecurve import to_display
from models.ssr.sequence_file import load_sequence

__all__ = ["EXPOSURE", "GBufferSequence"]

ROOM = Path(__file__).parents[1] / "assets" / "gbuffers" / "room"
# The sequence is rendered so that the median luminance is mid grey: shown as it is, noisy, ours and reference alike.
EXPOSURE = 1.0
# What a path tracer of this room reaches, and what two cores reconstruct beside the two cameras.
RENDER_FPS = 8.0


@dataclass(frozen=True, slots=True)
class GBufferSequence:
    """A rendered sequence in a folder; see `models.ssr.sequence_file`."""

    folder: Path
    fps: float
    title: str
    source: str

    @classmethod
    def room(cls, folder: Path | None = None) -> GBufferSequence:
        """The room as rendered into `folder`; without one, as committed."""
        record = json.loads(((folder or ROOM) / "sequence.json").read_text(encoding="utf-8"))
        width, height = record["size_wh"]
        return cls(
            folder or ROOM,
            RENDER_FPS,
            f"a path-traced room, {width}x{height}, 1/4 sample per pixel",
            f"rendered here by {record['renderer']}" if folder else "the committed sequence",
        )

    def planes(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Planes by name, frame by frame, as a renderer would hand them over."""
        return (planes for planes, _ in load_sequence(self.folder))

    def pictures(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
        """What a screen shows of the noisy input and of the reference: uint8 [H, W, 3] BGR."""
        for planes, reference in load_sequence(self.folder):
            shown = None if reference is None else to_display(reference, EXPOSURE)
            yield to_display(planes["radiance"], EXPOSURE), shown
