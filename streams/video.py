"""h264 and hevc: one access unit in, one picture out, and recovery at the next key frame.

NAL unit types: ITU-T H.264 table 7-1, H.265 table 7-1. Access units come in Annex B form (start codes). The bitstream
itself, not the header `keyframe`, says where a decoder may start.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.codec.context import Flags
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from streams.codec import Reduce, sniff
from streams.errors import PayloadError
from streams.headers import FrameCodec
from streams.messages import DropReason
from streams.records import FrameRecord

__all__ = ["VideoDecoder", "VideoEncoder", "is_keyframe"]

Image = NDArray[np.uint8]

# H.264: 5 is an IDR slice, 7 and 8 are parameter sets. HEVC: 16 to 21 are IRAP slices, 32 to 34 parameter sets.
KEY_TYPES = {FrameCodec.H264: frozenset({5}), FrameCodec.HEVC: frozenset(range(16, 22))}
PARAMETER_TYPES = {FrameCodec.H264: frozenset({7, 8}), FrameCodec.HEVC: frozenset({32, 33, 34})}
# Types that no encoder writes: an access unit that has one is of the other codec. (62 and 63 carry Dolby Vision.)
FOREIGN_TYPES = {
    FrameCodec.H264: frozenset({0, 2, 3, 4, *range(24, 32)}),
    FrameCodec.HEVC: frozenset({*range(22, 32), *range(41, 62)}),
}
SEQUENCE_TYPE = {FrameCodec.H264: 7, FrameCodec.HEVC: 33}
# Real parameter sets take some hundred bytes; a stream must not make us remember more than this.
MAX_PARAMETER_BYTES = 65_536
# Coded pictures are whole blocks, 64 pixels a side at most, and are cropped to the size of the headers.
BLOCK = 64

ENCODERS = {FrameCodec.H264: "libx264", FrameCodec.HEVC: "libx265"}


class VideoDecoder:
    """Decodes one stream on one thread: no reordering, no delay, nothing shown that rests on a lost picture.

    It starts at a key frame. After a gap in `seq`, an error or a change of size it lets everything go up to the next
    key frame (`DropReason.AWAIT_KEYFRAME`); a `seq` that it has just had is a `DropReason.DUPLICATE`.
    """

    def __init__(self, codec: FrameCodec) -> None:
        if not codec.is_video:
            raise ValueError(f"codec: expected h264 or hevc, got {codec}")
        self.codec = codec
        self._context: VideoCodecContext | None = None
        self._size_wh = (0, 0)
        self._last_seq = -1
        self._parameters = b""

    def decode(self, record: FrameRecord, *, reduce: Reduce = 1) -> Image | DropReason:
        """The record's picture, uint8 [ceil(height / reduce), ceil(width / reduce), 3] BGR, or why it was let go.

        Raises: PayloadError if the access unit is truncated, corrupted, of another codec or size, or has no picture;
        the next key frame is awaited then.
        """
        frame = self._advanced(record)
        if isinstance(frame, DropReason):
            return frame
        width, height = -(-record.width // reduce), -(-record.height // reduce)
        # One thread: swscale would make and end its own anew for each frame.
        return cast(Image, frame.to_ndarray(format="bgr24", width=width, height=height, threads=1))

    def skip(self, record: FrameRecord) -> DropReason | None:
        """Take a frame in without making a picture of it, so that the ones that rest on it can follow.

        For frames that are too old to be answered. None where it was taken in; raises as `decode` does.
        """
        frame = self._advanced(record)
        return frame if isinstance(frame, DropReason) else None

    def reset(self) -> None:
        """Await the next key frame, as after a gap. Parameter sets are kept: some sources send them only once."""
        self._context = None

    def _advanced(self, record: FrameRecord) -> av.VideoFrame | DropReason:
        if record.codec is not self.codec:
            raise PayloadError(f"header 'codec' says {record.codec}, but this stream is {self.codec}")
        if self._context is not None and record.seq == self._last_seq:
            return DropReason.DUPLICATE
        gap = record.seq != self._last_seq + 1
        self._last_seq = record.seq
        units = list(_nal_units(self.codec, record.payload))
        types = {kind for kind, _ in units}
        if not units or types & FOREIGN_TYPES[self.codec]:
            self.reset()
            raise PayloadError(
                f"header 'codec' says {self.codec}, but the value is {sniff(record.payload)}"
                + (f" with the NAL unit types {', '.join(map(str, sorted(types)))}" if types else "")
            )
        self._remember_parameters(units)
        key = bool(types & KEY_TYPES[self.codec])
        if gap or (record.width, record.height) != self._size_wh:
            self.reset()
        payload = record.payload
        if self._context is None:
            if not key or not self._parameters:
                return DropReason.AWAIT_KEYFRAME
            self._open(record)
            if SEQUENCE_TYPE[self.codec] not in types:
                payload = self._parameters + payload
        return self._picture(record, payload)

    def _picture(self, record: FrameRecord, payload: bytes) -> av.VideoFrame:
        packet = av.Packet(payload)
        packet.pts = record.seq
        try:
            frames = cast(VideoCodecContext, self._context).decode(packet)
        except FFmpegError as error:
            self.reset()
            raise PayloadError(
                f"{self.codec}: {error.strerror}; the access unit is corrupted, "
                f"or larger than {record.width}x{record.height}"
            ) from error
        if len(frames) != 1 or frames[0].pts != record.seq or frames[0].is_corrupt:
            self.reset()
            raise PayloadError(
                f"{self.codec}: expected one whole picture of this access unit, got {len(frames)}; "
                "send one access unit a record, encoded without B-frames (x264: tune=zerolatency)"
            )
        if (frames[0].width, frames[0].height) != (record.width, record.height):
            self.reset()
            raise PayloadError(
                f"headers 'width' and 'height' say {record.width}x{record.height}, "
                f"but the picture is {frames[0].width}x{frames[0].height}"
            )
        return frames[0]

    def _open(self, record: FrameRecord) -> None:
        context = cast(VideoCodecContext, av.CodecContext.create(self.codec.value, "r"))
        context.thread_count = 1
        context.flags |= Flags.low_delay
        context.options = {
            "err_detect": "explode",
            "max_pixels": str((record.width + BLOCK) * (record.height + BLOCK)),
        }
        self._context = context
        self._size_wh = (record.width, record.height)

    def _remember_parameters(self, units: list[tuple[int, bytes]]) -> None:
        if all(kind != SEQUENCE_TYPE[self.codec] for kind, _ in units):
            return
        sets = b"".join(b"\0\0\0\1" + unit for kind, unit in units if kind in PARAMETER_TYPES[self.codec])
        if len(sets) <= MAX_PARAMETER_BYTES:
            self._parameters = sets


class VideoEncoder:
    """Encodes one stream so that `VideoDecoder` reads it: no B-frames, no delay, parameter sets at every key frame.

    Frames are uint8 [height, width, 3] BGR; both sides must be even (4:2:0). `bit_rate` in bits a second, None for
    the encoder's constant quality.
    """

    def __init__(
        self,
        codec: FrameCodec,
        width: int,
        height: int,
        *,
        fps: float = 30.0,
        keyframe_interval: int = 60,
        bit_rate: int | None = None,
    ) -> None:
        if codec not in ENCODERS:
            raise ValueError(f"codec: expected h264 or hevc, got {codec}")
        if width % 2 or height % 2 or min(width, height) < 16:
            raise ValueError(f"size: expected even sides of at least 16 pixels, got {width}x{height}")
        self.codec = codec
        self._size_wh = (width, height)
        self._next_pts = 0
        context = cast(VideoCodecContext, av.CodecContext.create(ENCODERS[codec], "w"))
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = 1 / Fraction(fps).limit_denominator(1001)
        context.thread_count = 1
        if bit_rate is not None:
            context.bit_rate = bit_rate
        context.options = _encoder_options(codec, keyframe_interval)
        self._context = context

    def encode(self, image_bgr: Image) -> tuple[bytes, bool]:
        """One picture -> its access unit (Annex B) and whether a decoder may start at it.

        Raises: ValueError if the picture has another size than the encoder's.
        """
        width, height = self._size_wh
        if image_bgr.shape != (height, width, 3):
            raise ValueError(f"image: expected [{height}, {width}, 3], got {list(image_bgr.shape)}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image_bgr), format="bgr24")
        frame.pts = self._next_pts
        self._next_pts += 1
        unit = b"".join(bytes(packet) for packet in self._context.encode(frame))
        return unit, is_keyframe(self.codec, unit)


def is_keyframe(codec: FrameCodec, access_unit: bytes) -> bool:
    """Whether the access unit has a slice at which a decoder may start."""
    return any(kind in KEY_TYPES[codec] for kind, _ in _nal_units(codec, access_unit))


def _nal_units(codec: FrameCodec, access_unit: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, bytes without the start code) of each NAL unit."""
    start = access_unit.find(b"\0\0\1")
    while start >= 0:
        start += 3
        end = access_unit.find(b"\0\0\1", start)
        unit = access_unit[start : end if end >= 0 else None]
        if unit:
            yield (unit[0] & 0x1F if codec is FrameCodec.H264 else unit[0] >> 1 & 0x3F), unit
        start = end


def _encoder_options(codec: FrameCodec, keyframe_interval: int) -> dict[str, str]:
    common = f"keyint={keyframe_interval}:min-keyint={keyframe_interval}:scenecut=0:bframes=0:repeat-headers=1"
    if codec is FrameCodec.H264:
        return {"preset": "veryfast", "tune": "zerolatency", "x264-params": common}
    quiet = "log-level=error:pools=none:frame-threads=1:open-gop=0"
    return {"preset": "ultrafast", "tune": "zerolatency", "x265-params": f"{common}:{quiet}"}
