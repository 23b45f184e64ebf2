"""An MP4 written picture by picture (H.264, yuv420p, plays in every browser)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["VideoFile"]


class VideoFile:
    """Writes uint8 [H, W, 3] BGR pictures of one size; the file appears whole under its name when closed.

    Raises: ValueError when a picture has another size than the first one.
    """

    def __init__(self, path: Path, fps: float, *, crf: int = 23) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._container = av.open(str(self._part), mode="w", format="mp4", options={"movflags": "faststart"})
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        self._stream.options = {"crf": str(crf), "preset": "veryfast"}
        self._stream.pix_fmt = "yuv420p"
        self._size_wh: tuple[int, int] | None = None

    def write(self, image_bgr: NDArray[np.uint8]) -> None:
        """Append one picture; an odd last row or column is cut, as yuv420p wants even sides."""
        image = image_bgr[: image_bgr.shape[0] // 2 * 2, : image_bgr.shape[1] // 2 * 2]
        size_wh = (image.shape[1], image.shape[0])
        if self._size_wh is None:
            self._size_wh = size_wh
            self._stream.width, self._stream.height = size_wh
        elif size_wh != self._size_wh:
            raise ValueError(f"{self._path.name}: expected pictures of {self._size_wh}, got {size_wh}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file and move it to its name."""
        if self._size_wh is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if self._size_wh is None:
            self._part.unlink(missing_ok=True)
        else:
            self._part.replace(self._path)

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
