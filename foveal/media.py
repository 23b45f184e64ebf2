"""Where frames come from: a video file, a folder of pictures, a camera, an RTSP address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameSource", "SourceError", "SourceFrame", "open_source"]

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
LIVE_SCHEMES = ("rtsp://", "rtsps://", "http://", "https://", "rtmp://", "udp://")
FOLDER_FPS = 10.0


class SourceError(ValueError):
    """The source cannot be opened or read."""


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """One picture of a source: uint8 [H, W, 3] BGR, its index, and its time from the first frame in seconds."""

    image_bgr: NDArray[np.uint8]
    index: int
    time_s: float


class FrameSource(Protocol):
    """Frames in order; `fps` and `frames` are what the source declares (`frames` is None when it has no end)."""

    fps: float
    frames: int | None
    live: bool

    def __iter__(self) -> Iterator[SourceFrame]: ...


def open_source(address: str) -> FrameSource:
    """Open a file, a folder of pictures, a camera index or a network address.

    Raises: SourceError that says what was tried and what would work.
    """
    if address.isdigit():
        return _Camera(int(address))
    if address.startswith(LIVE_SCHEMES):
        return _Video(address, live=True)
    path = Path(address)
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise SourceError(
            f"source: expected a file, a folder, a camera index or an rtsp:// address; {address!r} is not there"
        )
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return _Folder(path)
    return _Video(address, live=False)


class _Video:
    def __init__(self, address: str, *, live: bool) -> None:
        self.live = live
        self._address = address
        options = {"rtsp_transport": "tcp", "stimeout": "5000000"} if address.startswith("rtsp") else {}
        try:
            self._container = av.open(address, options=options, timeout=(10.0, 10.0) if live else None)
        except (OSError, ValueError) as error:
            raise SourceError(f"source: {address!r} cannot be opened as video: {error}") from error
        if not self._container.streams.video:
            raise SourceError(f"source: {address!r} holds no video stream")
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        self.fps = float(stream.average_rate or stream.guessed_rate or 25)
        self.frames = None if live or not stream.frames else int(stream.frames)

    def __iter__(self) -> Iterator[SourceFrame]:
        try:
            with self._container as container:
                for index, frame in enumerate(container.decode(video=0)):
                    time_s = frame.time if frame.time is not None else index / self.fps
                    # One thread: swscale would make and end its own anew for each frame.
                    image = np.asarray(frame.to_ndarray(format="bgr24", threads=1), dtype=np.uint8)
                    yield SourceFrame(image, index, time_s)
        except av.error.FFmpegError as error:
            raise SourceError(f"source: {self._address!r} ends in the middle of a frame: {error}") from error


class _Folder:
    live = False
    fps = FOLDER_FPS

    def __init__(self, path: Path) -> None:
        files = [path] if path.is_file() else sorted(path.iterdir())
        self._files = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
        self.frames: int | None = len(self._files)
        if not self._files:
            raise SourceError(f"source: {path} holds no picture ({', '.join(sorted(PICTURE_SUFFIXES))})")

    def __iter__(self) -> Iterator[SourceFrame]:
        for index, file in enumerate(self._files):
            image = cv2.imread(str(file), cv2.IMREAD_COLOR)
            if image is None:
                raise SourceError(f"source: {file} is not a picture that can be read")
            yield SourceFrame(np.asarray(image, dtype=np.uint8), index, index / self.fps)


class _Camera:
    live = True
    frames: int | None = None

    def __init__(self, index: int) -> None:
        self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            raise SourceError(f"source: camera {index} cannot be opened; is it plugged in and free?")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or 30.0

    def __iter__(self) -> Iterator[SourceFrame]:
        index = 0
        try:
            while True:
                there, image = self._capture.read()
                if not there:
                    return
                yield SourceFrame(np.asarray(image, dtype=np.uint8), index, index / self.fps)
                index += 1
        finally:
            self._capture.release()
