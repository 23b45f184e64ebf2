"""What travels between the consumer and an actor: records as they came, and whole frames still compressed."""

from __future__ import annotations

from dataclasses import dataclass

from streams.headers import FrameCodec, FrameHeaders, GBufferCodec, GBufferHeaders, History

__all__ = ["FrameRecord", "GBufferRecord", "Origin", "RawRecord"]


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a record lies. Its text, "topic/partition/offset", is the CloudEvents id of what comes of it."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Read "topic/partition/offset" back. Raises: ValueError if it is not that."""
        topic, _, rest = text.partition("/")
        partition, _, offset = rest.partition("/")
        if not (topic and partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"expected 'topic/partition/offset', got {text!r}")
        return cls(topic, int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A Kafka record as it came. `appended_at_ms` is the broker's LogAppendTime, milliseconds since 1970 UTC."""

    origin: Origin
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    value: bytes | None
    appended_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _WholeRecord:
    """One frame, joined from its parts.

    `origin` is of its last part; `part_offsets` are all offsets that it is made of, ascending, and end with
    `origin.offset`; `raws` are the records themselves, kept so that a dead letter can carry each as it came.
    """

    origin: Origin
    part_offsets: tuple[int, ...]
    stream_id: str
    payload: bytes
    appended_at_ms: int
    raws: tuple[RawRecord, ...]
    headers: FrameHeaders | GBufferHeaders

    @property
    def seq(self) -> int:
        return self.headers.seq

    @property
    def captured_at_ns(self) -> int:
        return self.headers.captured_at_ns

    @property
    def width(self) -> int:
        return self.headers.width

    @property
    def height(self) -> int:
        return self.headers.height


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRecord(_WholeRecord):
    """A whole frame of `foveal.frames`, pixels still compressed."""

    headers: FrameHeaders

    @property
    def codec(self) -> FrameCodec:
        return self.headers.codec

    @property
    def keyframe(self) -> bool:
        return self.headers.keyframe


@dataclass(frozen=True, slots=True, kw_only=True)
class GBufferRecord(_WholeRecord):
    """A whole frame of `foveal.gbuffers`, planes still packed."""

    headers: GBufferHeaders

    @property
    def codec(self) -> GBufferCodec:
        return self.headers.codec

    @property
    def keyframe(self) -> bool:
        """Whether the stream asks to start afresh with this frame (`history: none`)."""
        return self.headers.history is History.NONE
