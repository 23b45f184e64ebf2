"""`foveal.gbuffers` -> renders: frames of one size share a batch, each with its own stream's history."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.config import ReconstructionConfig, RenderRule
from actors.deadline import Deadline, wall_ms
from actors.endings import Endings, isolate
from actors.errors import UnconfiguredStreamError
from actors.metrics import LoopStats
from actors.streamstate import StreamStates
from actors.tonecurve import AutoExposure, to_display
from streams.cloudevents import result_record
from streams.codec import encode_half, encode_image
from streams.exr import encode_exr_image
from streams.gbuffer import decode_planes
from streams.headers import FrameCodec, History, OutputFormat
from streams.messages import DropReason, RenderResult, ResetReason
from streams.records import GBufferRecord

__all__ = ["DecodedGBuffer", "ReconstructionStep", "Reconstructs"]

logger = logging.getLogger(__name__)

JPEG_QUALITY = 92
Planes = Mapping[str, NDArray[Any]]


class Reconstructs(Protocol):
    """What this step needs of `models.ssr.Reconstructor`. Histories are opaque; None begins afresh."""

    def reconstruct(
        self, frames: Sequence[Any], histories: Sequence[Any]
    ) -> Sequence[tuple[NDArray[np.float32], Any]]: ...


@dataclass(frozen=True, slots=True)
class DecodedGBuffer:
    """A frame in hand: its planes by name, each [H, W] or [H, W, C]."""

    record: GBufferRecord
    rule: RenderRule
    planes: Planes


class _RenderState:
    """What is remembered of one stream."""

    def __init__(self) -> None:
        self.history: Any = None
        self.exposure = AutoExposure()
        self.frames = 0
        self.last_seq: int | None = None
        self.size_wh = (0, 0)
        self.scene: str | None = None

    def reason_to_reset(self, record: GBufferRecord) -> ResetReason | None:
        """Why this frame cannot draw on the ones before it; None where it can."""
        headers = record.headers
        if headers.history is History.NONE:
            return "requested"
        if self.last_seq is None or self.history is None:
            return "first_frame" if record.seq == 0 else "rebalance"
        if (headers.width, headers.height) != self.size_wh:
            return "size"
        if headers.scene != self.scene:
            return "scene"
        return "gap" if record.seq != self.last_seq + 1 else None

    def advance(self, record: GBufferRecord, reset: bool, history: Any) -> int:
        """Take a frame in; returns how many frames before it the image draws on."""
        self.frames = 0 if reset else self.frames + 1
        self.history = history
        self.last_seq = record.seq
        self.size_wh = (record.width, record.height)
        self.scene = record.headers.scene
        return self.frames

    def close(self) -> None:
        self.history = None


class ReconstructionStep:
    """What `actors.loop.StreamLoop` does with G-buffers. See there for the threads."""

    def __init__(self, config: ReconstructionConfig, reconstructor: Reconstructs, stats: LoopStats) -> None:
        self._config = config
        self._reconstructor = reconstructor
        self._stats = stats
        self._deadline = Deadline(self._rule)
        self._states = StreamStates(lambda _: _RenderState(), config.loop.stream_idle_s)

    def prepare(self, frames: Sequence[GBufferRecord], endings: Endings) -> list[DecodedGBuffer] | None:
        """Decide and unpack: stale frames, unconfigured streams and broken planes end here."""
        wanted: list[GBufferRecord] = []
        for frame in frames:
            try:
                self._rule(frame.stream_id)
            except UnconfiguredStreamError as error:
                endings.bury(frame, error)
            else:
                wanted.append(frame)
        split = self._deadline.split(wanted)
        now_ms = wall_ms()
        for frame in split.stale:
            endings.drop(frame, DropReason.STALE, now_ms)
        fresh: list[DecodedGBuffer] = []
        for frame, planes in zip(split.fresh, isolate(_unpack, split.fresh), strict=True):
            if isinstance(planes, Exception):
                endings.bury(frame, planes)
            else:
                fresh.append(DecodedGBuffer(frame, self._rule(frame.stream_id), planes))
        return fresh or None

    def infer(self, prepared: list[DecodedGBuffer], endings: Endings) -> None:
        """Reconstruct in rounds: each has one frame of each stream, since a frame rests on the one before it."""
        self._stats.batch(len(prepared))
        for batch in _rounds(prepared):
            self._reconstruct(batch, endings)

    def forget_prepared(self, places: Sequence[tuple[str, int]]) -> None:
        """Nothing is remembered before the network."""

    def forget_inferred(self, places: Sequence[tuple[str, int]]) -> None:
        """Let go of the histories of partitions that went elsewhere, and of silent streams."""
        if places:
            self._states.drop_partitions(places)
        self._states.expire()

    def close(self) -> None:
        """Let go of all streams."""
        self._states.close()

    @property
    def streams(self) -> int:
        """Streams that are remembered."""
        return len(self._states)

    @property
    def waiting_for(self) -> str | None:
        """No other service is needed."""
        return None

    def _rule(self, stream_id: str) -> RenderRule:
        rule = self._config.rule(stream_id)
        if rule is None:
            raise UnconfiguredStreamError(
                f"reconstruction.streams: expected a rule that matches the stream {stream_id!r}, got none; "
                'add one, or a last one with match: "*"'
            )
        return rule

    def _reconstruct(self, batch: list[DecodedGBuffer], endings: Endings) -> None:
        states = [self._state(frame.record) for frame in batch]
        reasons: list[ResetReason | None] = [
            state.reason_to_reset(frame.record) for state, frame in zip(states, batch, strict=True)
        ]
        histories = [
            None if reason is not None else state.history for state, reason in zip(states, reasons, strict=True)
        ]

        def run(some: Sequence[tuple[DecodedGBuffer, Any]]) -> Sequence[tuple[NDArray[np.float32], Any]]:
            return self._reconstructor.reconstruct([frame.planes for frame, _ in some], [past for _, past in some])

        began_s = time.perf_counter()
        found = isolate(run, list(zip(batch, histories, strict=True)))
        self._stats.stage("reconstruct", time.perf_counter() - began_s)
        began_s = time.perf_counter()
        for frame, state, reason, made in zip(batch, states, reasons, found, strict=True):
            if isinstance(made, Exception):
                # The next frame cannot draw on this one: it starts afresh.
                self._states.reset(frame.record.stream_id)
                endings.bury(frame.record, made)
                continue
            linear, history = made
            if reason is not None:
                self._stats.reset(reason)
                state.exposure.reset()
            count = state.advance(frame.record, reason is not None, history)
            self._answer(frame, linear, count, reason, state.exposure, endings)
        self._stats.stage("encode", time.perf_counter() - began_s)

    def _answer(
        self,
        frame: DecodedGBuffer,
        linear: NDArray[np.float32],
        history_frames: int,
        reason: ResetReason | None,
        exposure: AutoExposure,
        endings: Endings,
    ) -> None:
        record, headers = frame.record, frame.record.headers
        content = headers.output if "output" in headers.model_fields_set else OutputFormat(frame.rule.output)
        factor = headers.exposure if headers.exposure is not None else exposure.follow(linear)
        shown = content in (OutputFormat.PNG, OutputFormat.JPEG)
        result = RenderResult(
            stream_id=record.stream_id,
            seq=record.seq,
            captured_at_ns=record.captured_at_ns,
            width=record.width,
            height=record.height,
            content=content,
            history_frames=history_frames,
            reset_reason=reason,
            scene=headers.scene,
            exposure=factor if shown else None,
        )
        try:
            image = _packed(linear, content, factor)
        except Exception as error:  # noqa: BLE001 an encoder's failure condemns its frame, never its neighbours
            endings.bury(record, error)
            return
        endings.result(record, [result_record(record, result, image)])

    def _state(self, record: GBufferRecord) -> _RenderState:
        return self._states.of(record.stream_id, (record.origin.topic, record.origin.partition))


def _unpack(frames: Sequence[GBufferRecord]) -> list[Planes]:
    return [decode_planes(frame) for frame in frames]


def _rounds(frames: Sequence[DecodedGBuffer]) -> list[list[DecodedGBuffer]]:
    """One frame of each stream and one size a batch, a stream's frames in order."""
    counts: dict[str, int] = {}
    rounds: dict[tuple[int, int, int], list[DecodedGBuffer]] = {}
    for frame in frames:
        turn = counts.get(frame.record.stream_id, 0)
        counts[frame.record.stream_id] = turn + 1
        rounds.setdefault((turn, frame.record.width, frame.record.height), []).append(frame)
    return [rounds[key] for key in sorted(rounds, key=lambda key: key[0])]


def _packed(linear: NDArray[np.float32], content: OutputFormat, exposure: float) -> bytes:
    if content is OutputFormat.EXR:
        return encode_exr_image(linear)
    if content is OutputFormat.HALF:
        return encode_half(linear)
    shown = to_display(linear, exposure)
    if content is OutputFormat.JPEG:
        return encode_image(shown, FrameCodec.JPEG, quality=JPEG_QUALITY)
    return encode_image(shown, FrameCodec.PNG)
