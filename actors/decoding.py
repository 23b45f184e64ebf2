"""From compressed frames to pixels, each stream by its own decoder, at no larger a size than is needed.

How large is needed: people alone are found by the detector, which shrinks a frame to its input anyway; identities and
expressions are read from crops, for which every pixel counts up to a long side of `CROP_LONG_SIDE`. A JPEG is shrunk
inside its inverse transform, which costs less than decoding it whole (1280x720: 2.5 against 3.8 ms).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.config import StreamRule
from actors.streamstate import StreamStates
from streams.codec import Reduce, decode_image
from streams.errors import WireError
from streams.messages import DropReason
from streams.records import FrameRecord
from streams.video import VideoDecoder

__all__ = ["CROP_LONG_SIDE", "DecodedFrame", "FrameDecoder", "reduce_for"]

CROP_LONG_SIDE = 1920
REDUCTIONS: tuple[Reduce, ...] = (4, 2)


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A frame in hand. `image_bgr` is uint8 [ceil(height / reduce), ceil(width / reduce), 3]."""

    record: FrameRecord
    rule: StreamRule
    image_bgr: NDArray[np.uint8]
    reduce: Reduce

    @property
    def size_wh(self) -> tuple[int, int]:
        """The whole frame's width and height in pixels."""
        return self.record.width, self.record.height


Decoded = DecodedFrame | DropReason | Exception


def reduce_for(size_wh: tuple[int, int], rule: StreamRule, detector_long_side: int) -> Reduce:
    """By what a frame may be shrunk while its long side stays at least what the rule's networks can use."""
    crops = "identities" in rule.compute or "expressions" in rule.compute
    needed = max(CROP_LONG_SIDE, detector_long_side) if crops else detector_long_side
    return next((factor for factor in REDUCTIONS if max(size_wh) // factor >= needed), 1)


class _StreamDecoder:
    """The video decoder of one stream, made when its first video frame comes."""

    def __init__(self) -> None:
        self._video: VideoDecoder | None = None

    def decode(self, record: FrameRecord, reduce: Reduce) -> NDArray[np.uint8] | DropReason:
        if not record.codec.is_video:
            self._video = None
            return decode_image(record, reduce=reduce)
        return self._of(record).decode(record, reduce=reduce)

    def skip(self, record: FrameRecord) -> None:
        if record.codec.is_video:
            self._of(record).skip(record)

    def close(self) -> None:
        self._video = None

    def _of(self, record: FrameRecord) -> VideoDecoder:
        if self._video is None or self._video.codec is not record.codec:
            self._video = VideoDecoder(record.codec)
        return self._video


class FrameDecoder:
    """Decodes batches. A stream's frames are decoded in order; different streams side by side on `threads`."""

    def __init__(self, threads: int, idle_s: float, detector_long_side: int) -> None:
        self._states = StreamStates(lambda _: _StreamDecoder(), idle_s)
        self._detector_long_side = detector_long_side
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode") if threads > 1 else None

    def decode(self, frames: Sequence[tuple[FrameRecord, StreamRule]], stale: frozenset[int]) -> list[Decoded]:
        """One entry a frame, in order: its pixels, why it is let go, or its error.

        Frames whose index is in `stale` are not answered: a still one costs nothing, a video frame is taken in by its
        decoder, so that the fresh ones after it need not wait for the next key frame.
        """
        by_stream: dict[str, list[int]] = {}
        for index, (record, _) in enumerate(frames):
            by_stream.setdefault(record.stream_id, []).append(index)
        decoded: list[Decoded | None] = [None] * len(frames)

        def work(indices: list[int]) -> None:
            for index in indices:
                decoded[index] = self._one(*frames[index], index in stale)

        groups = list(by_stream.values())
        if self._pool is None or len(groups) == 1:
            for group in groups:
                work(group)
        else:
            list(self._pool.map(work, groups))
        return [entry for entry in decoded if entry is not None]

    def forget(self, places: Sequence[tuple[str, int]]) -> None:
        """Let go of the decoders of partitions that went elsewhere, and of silent streams."""
        if places:
            self._states.drop_partitions(places)
        self._states.expire()

    def close(self) -> None:
        """Let go of everything."""
        self._states.close()
        if self._pool is not None:
            self._pool.shutdown()

    def __len__(self) -> int:
        return len(self._states)

    def _one(self, record: FrameRecord, rule: StreamRule, late: bool) -> Decoded:
        state = self._states.of(record.stream_id, (record.origin.topic, record.origin.partition))
        try:
            if late:
                state.skip(record)
                return DropReason.STALE
            reduce = reduce_for((record.width, record.height), rule, self._detector_long_side)
            image = state.decode(record, reduce)
        except WireError as error:
            return error
        except Exception as error:  # noqa: BLE001 a decoder's own failure condemns its frame, never its neighbours
            self._states.reset(record.stream_id)
            return error
        return image if isinstance(image, DropReason) else DecodedFrame(record, rule, image, reduce)
