"""Frames of planes to whole pictures: several streams of one size in a batch, each with its own history."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.engine.recycle import Recycler
from models.errors import InputShapeError
from models.ssr.carry import SURFACE, carry, prepare
from models.ssr.history import History
from models.ssr.preprocess import MEAN_RADIANCE, as_float32, check_planes, depth_mean, frame_tensor, radiance_mean
from models.ssr.spec import SIDE_MULTIPLE
from models.ssr.tiles import Runs, largest_hw, run_in_tiles

__all__ = ["Reconstructor"]

MEMORY_FRAMES = 8
"""The exposure follows the mean radiance of about so many frames."""
FRAME_CHANNELS, HISTORY_CHANNELS = 15, 8
EMPTY = 1e-8
SHARED_ROWS = 32
"""Smaller pictures are done before another thread wakes."""
CACHED_PIXELS = 1 << 15
"""So many are laid out or put together at a time: what passes between two steps stays in the processor's cache."""
Planes = Mapping[str, NDArray[Any]]


class Reconstructor:
    """The reconstruction network behind arrays. `engine` is `load_engine(SSR, ...)`.

    Frames larger than it takes, or than `limit_hw` (rows, columns), are done in overlapping tiles.
    """

    def __init__(self, engine: Runs, limit_hw: tuple[int, int] | None = None) -> None:
        self._engine = engine
        self._limit_hw = limit_hw or largest_hw(engine)
        self._kept: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._memory = Recycler()
        self._lock = threading.Lock()
        self._halves = _two_threads()
        prepare()

    def reconstruct(
        self, frames: Sequence[Planes], histories: Sequence[History | None]
    ) -> list[tuple[NDArray[np.float32], History]]:
        """Reconstruct one frame of each stream.

        `frames`: planes by name, as in docs/architecture.md, of any float or integer type. A history of None, or of
        another size, begins afresh. Frames of one size are inferred together.
        Returns for each the linear radiance float32 [H, W, 3], in the unit of its input, and the stream's new history.
        Raises: PlanesError (missing, misshapen or not finite planes), InputShapeError (counts differ), EngineError.
        """
        if len(frames) != len(histories):
            raise InputShapeError(f"expected a history or None for each of {len(frames)} frames, got {len(histories)}")
        sizes = [check_planes(planes) for planes in frames]
        results: dict[int, tuple[NDArray[np.float32], History]] = {}
        for size in dict.fromkeys(sizes):
            chosen = [index for index, other in enumerate(sizes) if other == size]
            with self._lock:
                batch = self._batch([frames[index] for index in chosen], [histories[index] for index in chosen], size)
            results.update(zip(chosen, batch, strict=True))
        return [results[index] for index in range(len(frames))]

    def _batch(
        self, frames: Sequence[Planes], histories: Sequence[History | None], size_hw: tuple[int, int]
    ) -> list[tuple[NDArray[np.float32], History]]:
        height, width = size_hw
        rows, columns = (-(-side // SIDE_MULTIPLE) * SIDE_MULTIPLE for side in size_hw)
        inputs, pasts = self._buffers(len(frames), rows, columns)
        scales: list[tuple[float, float, float]] = []
        kept = [past if past is not None and past.size_wh == (width, height) else None for past in histories]
        for index, (planes, past) in enumerate(zip(frames, kept, strict=True)):
            mean = _followed(radiance_mean(planes), past)
            radiance_scale = MEAN_RADIANCE / mean if mean > EMPTY else 1.0
            far = depth_mean(planes)
            depth_scale = 1 / far if far > EMPTY else 1.0
            self._lay_out(planes, radiance_scale, depth_scale, inputs[index, :, :height, :width])
            _mirror(inputs[index], height, width)
            scales.append((radiance_scale, depth_scale, mean))
            if past is None:
                pasts[index] = 0
                continue
            rates = radiance_scale / past.radiance_scale, depth_scale / past.depth_scale
            self._carry(past, as_float32(planes["motion"]), inputs[index], rates, pasts[index])
            _mirror(pasts[index], height, width)
        outputs = run_in_tiles(self._engine, {"frame": inputs, "history": pasts}, self._limit_hw)
        pictures, layers = outputs["radiance"], outputs["history_out"]
        results = []
        for index, (past, (radiance_scale, depth_scale, mean)) in enumerate(zip(kept, scales, strict=True)):
            picture = self._put_together(pictures[index, :, :height, :width], 1 / radiance_scale)
            count = 1 if past is None else past.history_frames + 1
            surface = self._surface_of(inputs[index])
            history = History(layers[index], surface, (width, height), radiance_scale, depth_scale, mean, count)
            results.append((picture, history))
        return results

    def _lay_out(self, planes: Planes, radiance_scale: float, depth_scale: float, out: NDArray[np.float32]) -> None:
        def lay_out(rows: slice) -> None:
            part = {name: values[rows] for name, values in planes.items()}
            frame_tensor(part, radiance_scale, depth_scale, out=out[:, rows])

        self._on_two_threads(_by_parts(lay_out, out.shape[2]), out.shape[1])

    def _put_together(self, layers: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
        """[3, H, W] times a factor as [H, W, 3]."""
        picture = self._memory.take((*layers.shape[1:], 3))

        def put_together(rows: slice) -> None:
            cv2.merge([np.ascontiguousarray(layer) for layer in layers[:, rows]], picture[rows])
            picture[rows] *= np.float32(factor)

        self._on_two_threads(_by_parts(put_together, layers.shape[2]), layers.shape[1])
        return picture

    def _surface_of(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        """A copy: the frame's memory is used again."""
        surface = self._memory.take((len(SURFACE), *frame.shape[1:]))

        def copy(rows: range) -> None:
            for target, channel in zip(surface, SURFACE, strict=True):
                target[rows.start : rows.stop] = frame[channel, rows.start : rows.stop]

        self._on_two_threads(copy, frame.shape[1])
        return surface

    def _carry(
        self,
        past: History,
        motion: NDArray[np.float32],
        frame: NDArray[np.float32],
        rates: tuple[float, float],
        out: NDArray[np.float32],
    ) -> None:
        motion = np.ascontiguousarray(motion)
        self._on_two_threads(
            lambda rows: carry(past.layers, past.surface, motion, frame, rates, out, rows), len(motion)
        )

    def _on_two_threads(self, work: Callable[[range], object], height: int) -> None:
        if height < SHARED_ROWS:
            work(range(height))
            return
        half = height // 2
        parts = [self._halves.submit(work, rows) for rows in (range(half), range(half, height))]
        wait(parts)
        for part in parts:
            part.result()

    def _buffers(self, count: int, rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Memory for frames and histories, kept from batch to batch: fresh pages cost a tenth of a frame's time."""
        if self._kept is None or self._kept[0].shape[2:] != (rows, columns) or len(self._kept[0]) < count:
            frames = np.empty((count, FRAME_CHANNELS, rows, columns), np.float32)
            self._kept = frames, np.empty((count, HISTORY_CHANNELS, rows, columns), np.float32)
        return self._kept[0][:count], self._kept[1][:count]


def _by_parts(work: Callable[[slice], object], width: int) -> Callable[[range], None]:
    """Work on a range of rows as work on a few rows after the other."""
    step = max(1, CACHED_PIXELS // width)

    def run(rows: range) -> None:
        for first in range(rows.start, rows.stop, step):
            work(slice(first, min(first + step, rows.stop)))

    return run


def _two_threads() -> ThreadPoolExecutor:
    """Each kept on a processor of its own: woken for milliseconds only, both would be put where their waker is."""
    places = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    chosen = iter([places[(os.getpid() + index) % len(places)] for index in range(2)] if places else [])

    def stay() -> None:
        if places:
            os.sched_setaffinity(threading.get_native_id(), {next(chosen)})

    return ThreadPoolExecutor(2, thread_name_prefix="carry", initializer=stay)


def _mirror(layers: NDArray[np.float32], height: int, width: int) -> None:
    """Fill what [C, H', W'] has beyond the frame by mirroring it: the network has seen no frame with an empty rim."""
    rows, columns = layers.shape[1:]
    layers[:, height:, :width] = layers[:, height - 1 - np.arange(rows - height) % height, :width]
    layers[:, :, width:] = layers[:, :, width - 1 - np.arange(columns - width) % width]


def _followed(mean: float, past: History | None) -> float:
    """The running mean of a stream's radiance: the scale must not flicker with the noise of single frames."""
    if past is None or past.radiance_mean <= EMPTY:
        return mean
    share = 1 / min(past.history_frames + 1, MEMORY_FRAMES)
    return past.radiance_mean + share * (mean - past.radiance_mean)
