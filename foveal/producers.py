"""What sends frames: `FrameProducer` for pictures and video, `GBufferProducer` for renderers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from foveal.settings import load_settings
from streams.client import open_producer
from streams.codec import encode_image
from streams.config import StreamsConfig
from streams.errors import StreamError
from streams.gbuffer import encode_planes
from streams.headers import (
    FrameCodec,
    GBufferCodec,
    History,
    OutputFormat,
    PlaneCodec,
    SentFrameHeaders,
    SentGBufferHeaders,
    encode,
)
from streams.parts import split
from streams.video import VideoEncoder

__all__ = ["DeliveryError", "FrameProducer", "GBufferProducer", "OnDelivery"]

# Called on the sender's thread with (seq, partition, offset) of each record that the broker acknowledged.
OnDelivery = Callable[[int, int, int], None]

# Room for headers and the batch's own framing below the topic's max.message.bytes.
RECORD_OVERHEAD_BYTES = 16_384
BATCH_BYTES = 1024 * 1024


class DeliveryError(StreamError, ConnectionError):
    """A frame did not reach the broker; the text names the first one, `failed` counts them."""

    def __init__(self, stream_id: str, seq: int, failed: int, cause: BaseException) -> None:
        super().__init__(
            f"stream {stream_id!r}: frame {seq} did not reach the broker ({failed} failed in all): {cause}; "
            "see `foveal doctor`"
        )
        self.failed = failed


class _StreamProducer:
    """Sending with backpressure: `send` waits while `max_in_flight` records are under way, and raises what failed."""

    def __init__(
        self,
        topic_role: str,
        stream_id: str,
        config: StreamsConfig | None,
        max_in_flight: int,
        on_delivery: OnDelivery | None,
    ) -> None:
        self._config = config if config is not None else load_settings().streams
        self._stream_id = stream_id
        self._key = stream_id.encode()
        topic = getattr(self._config.topics, topic_role)
        self._topic: str = topic.name
        self._limit_bytes: int = topic.max_message_bytes - RECORD_OVERHEAD_BYTES
        self._room = threading.BoundedSemaphore(max_in_flight)
        self._on_delivery = on_delivery
        self._failures: list[tuple[int, BaseException]] = []
        self._seq = 0
        # The broker holds a batch, not a record, against the topic's bound.
        self._producer = open_producer(self._config, batch_size=min(BATCH_BYTES, self._limit_bytes))

    @property
    def stream_id(self) -> str:
        """The stream's id, which is the key of its records."""
        return self._stream_id

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until all that was sent is acknowledged. Raises: DeliveryError."""
        self._producer.flush(timeout=timeout_s)
        self._raise_failures()

    def close(self, timeout_s: float = 30.0) -> None:
        """Flush and leave. Raises: DeliveryError."""
        try:
            self.flush(timeout_s)
        finally:
            self._producer.close(timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._producer.close(timeout=1.0)  # the first error is the one to be seen

    def _send_parts(self, value: bytes, headers: SentFrameHeaders | SentGBufferHeaders) -> int:
        self._raise_failures()
        pieces = split(value, self._limit_bytes)
        for part, piece in enumerate(pieces):
            named = headers.model_copy(update={"part": part, "parts": len(pieces)}) if len(pieces) > 1 else headers
            self._room.acquire()
            try:
                future = self._producer.send(self._topic, key=self._key, value=piece, headers=list(encode(named)))
            except BaseException:
                self._room.release()
                raise
            future.add_both(self._acknowledged, headers.seq)
        self._seq = headers.seq + 1
        return headers.seq

    def _acknowledged(self, seq: int, outcome: Any) -> None:
        self._room.release()
        if isinstance(outcome, BaseException):
            self._failures.append((seq, outcome))
        elif self._on_delivery is not None:
            self._on_delivery(seq, outcome.partition, outcome.offset)

    def _raise_failures(self) -> None:
        if self._failures:
            failures, self._failures = self._failures, []
            seq, cause = failures[0]
            raise DeliveryError(self._stream_id, seq, len(failures), cause) from cause


class FrameProducer(_StreamProducer):
    """Sends the frames of one camera to `foveal.frames`.

    ```python
    with FrameProducer("door-1") as producer:
        producer.send(image_bgr)
    ```
    `codec` is one of jpeg, png, h264, hevc, raw-bgr24. `config` is where Kafka is; None: as the commands find it.
    Raises: BrokerUnavailableError within 10 s where nothing answers; DeliveryError from `send`, `flush` or the end
    of the `with` block when an earlier frame did not arrive.
    """

    def __init__(
        self,
        stream_id: str,
        *,
        codec: FrameCodec | str = FrameCodec.JPEG,
        quality: int = 90,
        fps: float = 30.0,
        config: StreamsConfig | None = None,
        max_in_flight: int = 64,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        self._codec = FrameCodec(codec)
        self._quality = quality
        self._fps = fps
        self._encoder: VideoEncoder | None = None
        super().__init__("frames", stream_id, config, max_in_flight, on_delivery)

    def send(self, image_bgr: NDArray[np.uint8], *, seq: int | None = None, captured_at_ns: int | None = None) -> int:
        """Encode and send one picture, uint8 [H, W, 3] BGR 0-255; returns its sequence number. Waits when full."""
        captured_at_ns = time.time_ns() if captured_at_ns is None else captured_at_ns
        height, width = image_bgr.shape[:2]
        keyframe = True
        if self._codec.is_video:
            if self._encoder is None:
                self._encoder = VideoEncoder(self._codec, width, height, fps=self._fps)
            payload, keyframe = self._encoder.encode(image_bgr)
        else:
            payload = encode_image(image_bgr, self._codec, quality=self._quality)
        return self.send_encoded(
            payload, width=width, height=height, seq=seq, captured_at_ns=captured_at_ns, keyframe=keyframe
        )

    def send_encoded(
        self,
        payload: bytes,
        *,
        width: int,
        height: int,
        seq: int | None = None,
        captured_at_ns: int | None = None,
        keyframe: bool = True,
    ) -> int:
        """Send a frame that is already packed in this producer's codec; returns its sequence number."""
        headers = SentFrameHeaders(
            codec=self._codec,
            seq=self._seq if seq is None else seq,
            captured_at_ns=time.time_ns() if captured_at_ns is None else captured_at_ns,
            width=width,
            height=height,
            keyframe=keyframe,
        )
        return self._send_parts(payload, headers)


class GBufferProducer(_StreamProducer):
    """Sends the G-buffers of one renderer to `foveal.gbuffers`; plane names and shapes: docs/wire-contract.md.

    `plane_codec` is one of raw, lz4, zstd; `output` is what the renders come back as: png, jpeg, exr or half.
    """

    def __init__(
        self,
        stream_id: str,
        *,
        plane_codec: PlaneCodec | str = PlaneCodec.LZ4,
        output: OutputFormat | str = OutputFormat.PNG,
        config: StreamsConfig | None = None,
        max_in_flight: int = 8,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        self._plane_codec = PlaneCodec(plane_codec)
        self._output = OutputFormat(output)
        super().__init__("gbuffers", stream_id, config, max_in_flight, on_delivery)

    def send(
        self,
        planes: Mapping[str, NDArray[Any]],
        *,
        scene: str | None = None,
        fresh: bool = False,
        exposure: float | None = None,
        seq: int | None = None,
        captured_at_ns: int | None = None,
    ) -> int:
        """Pack and send one frame's planes; `fresh` asks for no history; returns its sequence number."""
        value, described = encode_planes(planes, self._plane_codec)
        height, width = planes["radiance"].shape[:2]
        headers = SentGBufferHeaders(
            codec=GBufferCodec.PLANES,
            planes=described,
            seq=self._seq if seq is None else seq,
            captured_at_ns=time.time_ns() if captured_at_ns is None else captured_at_ns,
            width=width,
            height=height,
            scene=scene,
            history=History.NONE if fresh else History.KEEP,
            output=self._output,
            exposure=exposure,
        )
        return self._send_parts(value, headers)
