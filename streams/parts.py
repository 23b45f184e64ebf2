"""Frames that are larger than a record may be: cut into parts, and joined again.

All parts of a frame have its key, so they lie on one partition. What is open is bounded in frames, bytes and time:
a part that never comes costs its frame, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from streams.errors import PartsError
from streams.headers import MAX_PARTS, FrameHeaders, GBufferHeaders
from streams.records import RawRecord

__all__ = ["FailedFrame", "PartJoiner", "split"]

# What may differ between the parts of one frame. The rest of the headers says what the frame is.
_OF_THE_PART = {"part"}

_FrameKey = tuple[str, int, str, int, int]


@dataclass(frozen=True, slots=True)
class FailedFrame:
    """A frame that will never be whole: the records that had come of it, by offset, and why."""

    raws: tuple[RawRecord, ...]
    error: PartsError


@dataclass(slots=True)
class _OpenFrame:
    headers: FrameHeaders | GBufferHeaders
    since_s: float
    raws: dict[int, RawRecord] = field(default_factory=dict)
    size: int = 0


class PartJoiner:
    """Joins the parts of frames, of many streams at once; not for several threads.

    At most `max_open` frames of together `max_bytes` wait for parts, the oldest goes first; each waits `timeout_s`
    from its first part. `clock` gives seconds that never run backwards.
    """

    def __init__(
        self,
        *,
        max_open: int = 256,
        max_bytes: int = 512 * 2**20,
        timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_open = max_open
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        self._clock = clock
        self._open: dict[_FrameKey, _OpenFrame] = {}
        self._bytes = 0
        self._failed: list[FailedFrame] = []

    def __len__(self) -> int:
        """Frames that wait for parts."""
        return len(self._open)

    @property
    def held_bytes(self) -> int:
        """Bytes that wait for parts."""
        return self._bytes

    def add(
        self, raw: RawRecord, headers: FrameHeaders | GBufferHeaders, stream_id: str
    ) -> tuple[RawRecord, ...] | None:
        """Take one part in; its frame's records in the order of the parts once all have come, else None.

        A frame that fails by this, this one or an older one that must make room, is found by `take_failed`.
        """
        value = raw.value or b""
        key = (raw.origin.topic, raw.origin.partition, stream_id, headers.seq, headers.captured_at_ns)
        frame = self._open.get(key)
        if frame is None:
            frame = self._open[key] = _OpenFrame(headers, self._clock())
        conflict = self._conflict(frame, headers)
        if conflict is not None:
            self._fail(key, f"stream {stream_id!r} seq {headers.seq}: {conflict}", raw)
            return None
        frame.raws[headers.part] = raw
        frame.size += len(value)
        self._bytes += len(value)
        if len(frame.raws) == headers.parts:
            self._close(key)
            return tuple(frame.raws[part] for part in range(headers.parts))
        while self._bytes > self.max_bytes or len(self._open) > self.max_open:
            oldest = next(iter(self._open))
            self._fail(
                oldest,
                f"stream {oldest[2]!r} seq {oldest[3]}: gave way with {len(self._open)} frames of "
                f"{self._bytes:,} bytes waiting for parts; "
                f"at most {self.max_open} frames of {self.max_bytes:,} bytes may",
            )
        return None

    def expire(self, now_s: float | None = None) -> list[FailedFrame]:
        """Give up the frames that have waited too long; these and all others that failed since the last call."""
        now_s = self._clock() if now_s is None else now_s
        late = [key for key, frame in self._open.items() if now_s - frame.since_s >= self.timeout_s]
        for key in late:
            frame = self._open[key]
            missing = sorted(set(range(frame.headers.parts)) - set(frame.raws))
            self._fail(
                key,
                f"stream {key[2]!r} seq {key[3]}: {len(frame.raws)} of {frame.headers.parts} parts came in "
                f"{self.timeout_s:g} s, without part {', '.join(map(str, missing[:8]))}"
                + (" and others" if len(missing) > 8 else ""),
            )
        return self.take_failed()

    def take_failed(self) -> list[FailedFrame]:
        """The frames that failed since the last call."""
        failed, self._failed = self._failed, []
        return failed

    def forget(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Let go of the open frames of (topic, partition)s that now belong to another member of the group."""
        gone = set(partitions)
        for key in [key for key in self._open if key[:2] in gone]:
            self._close(key)

    @staticmethod
    def _conflict(frame: _OpenFrame, headers: FrameHeaders | GBufferHeaders) -> str | None:
        if headers.part in frame.raws:
            return f"part {headers.part} came twice; send each part once (an idempotent producer does)"
        if headers.model_dump(exclude=_OF_THE_PART) != frame.headers.model_dump(exclude=_OF_THE_PART):
            return f"part {headers.part} contradicts the headers of the others; send the same ones with each part"
        return None

    def _fail(self, key: _FrameKey, message: str, also: RawRecord | None = None) -> None:
        raws = [*self._close(key).raws.values(), *([also] if also else [])]
        raws.sort(key=lambda raw: raw.origin)
        self._failed.append(FailedFrame(tuple(raws), PartsError(message, [raw.origin for raw in raws])))

    def _close(self, key: _FrameKey) -> _OpenFrame:
        frame = self._open.pop(key)
        self._bytes -= frame.size
        return frame


def split(value: bytes, limit: int) -> list[bytes]:
    """Cut a value into parts of at most `limit` bytes, as few and as even as can be; one part if it fits.

    Raises: ValueError if `limit` is not positive or the value would need more than 4,096 parts.
    """
    if limit < 1:
        raise ValueError(f"limit: expected at least 1 byte, got {limit}")
    parts = max(1, -(-len(value) // limit))
    if parts > MAX_PARTS:
        raise ValueError(f"value: {len(value):,} bytes need {parts:,} parts of {limit:,} bytes; at most {MAX_PARTS} go")
    size = max(1, -(-len(value) // parts))
    return [value[start : start + size] for start in range(0, len(value), size)] or [value]
