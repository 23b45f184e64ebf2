"""Real 720p frames as JPEG: the street with walkers where Debian's opencv-doc can be had, else the talking face."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from foveal.demo.inputs import InputMissingError, talking_face, walkers
from foveal.media import open_source
from foveal.settings import home_folder
from streams.codec import encode_image
from streams.headers import FrameCodec

__all__ = ["FRAME_NS", "Footage", "load_footage"]

FRAME_NS = 40_000_000  # its capture times: 25 frames a second, however fast it is sent
QUALITY = 90


@dataclass(frozen=True)
class Footage:
    """Encoded frames of one size, and where they come from."""

    title: str
    width: int
    height: int
    jpegs: list[bytes]

    def picture(self, index: int, streams: int) -> bytes:
        """The `index`-th frame of a run over `streams` streams, round robin.

        Each stream begins at a place of its own and every run at the same ones, so that runs of any number of streams,
        and what they are compared with, show the same people.
        """
        stream, seq = index % streams, index // streams
        return self.jpegs[(seq + stream * len(self.jpegs) // streams) % len(self.jpegs)]


def load_footage(count: int, size_wh: tuple[int, int] = (1280, 720)) -> Footage:
    """The first `count` frames, resized, as JPEG of quality 90."""
    try:
        path, title = walkers(home_folder() / "media"), "vtest.avi (walkers)"
    except InputMissingError:
        path, title = talking_face(), "carphone_pristine.mp4 (a talking face)"
    jpegs = []
    for frame in islice(iter(open_source(str(Path(path)))), count):
        resized = np.asarray(cv2.resize(frame.image_bgr, size_wh, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        jpegs.append(encode_image(resized, FrameCodec.JPEG, quality=QUALITY))
    return Footage(f"{title} at {size_wh[0]}x{size_wh[1]}", *size_wh, jpegs)
