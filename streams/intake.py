"""From records as they came to whole frames: headers, lengths and parts are checked here, pixels stay packed.

Each record is judged alone: a bad one becomes a dead letter and its neighbours go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from streams.errors import HeaderError, PayloadError, WireError
from streams.gbuffer import check_layout
from streams.headers import (
    FrameHeaders,
    FrameLimits,
    GBufferHeaders,
    RawHeaders,
    parse_frame_headers,
    parse_gbuffer_headers,
)
from streams.outcomes import Dead, bury_record
from streams.parts import FailedFrame, PartJoiner
from streams.records import FrameRecord, GBufferRecord, RawRecord

__all__ = ["Intake", "PartLimits"]

MAX_KEY_BYTES = 512

Record = TypeVar("Record", FrameRecord, GBufferRecord)


@dataclass(frozen=True, slots=True)
class PartLimits:
    """What may wait for parts: frames, bytes, seconds from a frame's first part."""

    max_open: int = 256
    max_bytes: int = 512 * 2**20
    timeout_s: float = 5.0


class Intake(Generic[Record]):
    """Makes whole frames of one input topic's records. Not for several threads; `for_frames` or `for_gbuffers`."""

    def __init__(
        self,
        parse: Callable[[RawHeaders, FrameLimits], FrameHeaders | GBufferHeaders],
        build: Callable[..., Record],
        limits: FrameLimits,
        parts: PartLimits,
        clock: Callable[[], float],
    ) -> None:
        self._parse = parse
        self._build: Callable[..., Record] = build
        self._limits = limits
        self._joiner = PartJoiner(
            max_open=parts.max_open, max_bytes=parts.max_bytes, timeout_s=parts.timeout_s, clock=clock
        )

    @staticmethod
    def for_frames(
        limits: FrameLimits | None = None,
        parts: PartLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Intake[FrameRecord]:
        """An intake of `foveal.frames`."""
        return Intake(parse_frame_headers, FrameRecord, limits or FrameLimits(), parts or PartLimits(), clock)

    @staticmethod
    def for_gbuffers(
        limits: FrameLimits | None = None,
        parts: PartLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Intake[GBufferRecord]:
        """An intake of `foveal.gbuffers`."""
        return Intake(parse_gbuffer_headers, GBufferRecord, limits or FrameLimits(), parts or PartLimits(), clock)

    @property
    def open_frames(self) -> int:
        """Frames that wait for parts."""
        return len(self._joiner)

    def accept(self, batch: Iterable[RawRecord]) -> tuple[list[Record], list[Dead]]:
        """Take records in, in order -> the frames that are whole now, and what is dead.

        A part of a frame that is not whole yet is in neither: it comes out of a later call, or of `expire`.
        """
        frames: list[Record] = []
        dead: list[Dead] = []
        for raw in batch:
            together: tuple[RawRecord, ...] | None = (raw,)
            try:
                stream_id, headers = self._read(raw)
                if headers.parts > 1:
                    together = self._joiner.add(raw, headers, stream_id)
                if together is not None:
                    frames.append(self._whole(together, headers, stream_id))
            except WireError as error:
                dead += [bury_record(one, error) for one in together or ()]
            dead += _buried(self._joiner.take_failed())
        return frames, dead

    def expire(self, now_s: float | None = None) -> list[Dead]:
        """Bury the parts of frames that have waited too long. `now_s` is of the intake's clock, None asks it."""
        return _buried(self._joiner.expire(now_s))

    def forget(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Let go of the open frames of (topic, partition)s that were taken away; another member gets them again."""
        self._joiner.forget(partitions)

    def _read(self, raw: RawRecord) -> tuple[str, FrameHeaders | GBufferHeaders]:
        stream_id = _stream_id(raw.key)
        headers = self._parse(raw.headers, self._limits)
        if raw.value is None:
            raise PayloadError("value: expected a frame, got a tombstone (no value); an input topic is not compacted")
        if not raw.value:
            raise PayloadError("value: expected a frame, got 0 bytes")
        return stream_id, headers

    def _whole(self, raws: Sequence[RawRecord], headers: FrameHeaders | GBufferHeaders, stream_id: str) -> Record:
        payload = cast(bytes, raws[0].value) if len(raws) == 1 else b"".join(cast(bytes, raw.value) for raw in raws)
        if isinstance(headers, GBufferHeaders):
            check_layout(headers, len(payload))
        ordered = tuple(sorted(raws, key=lambda raw: raw.origin))
        return self._build(
            origin=ordered[-1].origin,
            part_offsets=tuple(raw.origin.offset for raw in ordered),
            stream_id=stream_id,
            payload=payload,
            appended_at_ms=ordered[-1].appended_at_ms,
            raws=ordered,
            headers=headers,
        )


def _buried(failed: Iterable[FailedFrame]) -> list[Dead]:
    return [bury_record(raw, frame.error) for frame in failed for raw in frame.raws]


def _stream_id(key: bytes | None) -> str:
    if not key:
        raise HeaderError("(record key)", "the stream's id", key, "produce each frame with its stream's id as the key")
    if len(key) > MAX_KEY_BYTES:
        raise HeaderError("(record key)", f"at most {MAX_KEY_BYTES} bytes", key, "choose a shorter stream id")
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise HeaderError("(record key)", "UTF-8 text", key, "produce the stream's id as UTF-8") from error
