"""What a stream's rule does not name is not computed: the networks are never asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from actors.config import Capability, PerceptionConfig, StreamRule
from actors.endings import Endings
from actors.metrics import LoopStats
from actors.perception import PerceptionNetworks, PerceptionStep
from foveal.demo.inputs import talking_face
from foveal.media import open_source
from models.detection import DETECTION_NANO, Detector
from models.engine import EngineConfig, load_engine
from models.expression import EXPRESSION_NANO, ExpressionReader, Reading
from streams.headers import FrameCodec, SentFrameHeaders, encode, parse_frame_headers
from streams.records import FrameRecord, Origin

ENGINE = EngineConfig(compiler="openvino", precision="f32", threads=1)


class Counting:
    """The real reader, and how many faces it was asked for."""

    def __init__(self) -> None:
        self._reader = ExpressionReader(load_engine(EXPRESSION_NANO, ENGINE, from_uint8=True))
        self.asked = 0

    def read(self, frames: Sequence[Any], boxes: Sequence[Any], points: Sequence[Any]) -> list[Reading]:
        self.asked += sum(len(of_frame) for of_frame in boxes)
        return self._reader.read(frames, boxes, points)


@pytest.mark.parametrize(
    ("compute", "topics", "asked"),
    [(("people",), 1, 0), (("expressions",), 1, 1), (("people", "expressions"), 2, 1)],
)
def test_faces_are_read_only_where_expressions_are_named(
    compute: tuple[Capability, ...], topics: int, asked: int
) -> None:
    image = next(iter(open_source(str(talking_face())))).image_bgr
    reader = Counting()
    detector = Detector(load_engine(DETECTION_NANO, ENGINE, from_uint8=True))
    networks = PerceptionNetworks(detector, SimpleNamespace(), reader, "none")  # type: ignore[arg-type]
    index = SimpleNamespace(available=True)
    config = PerceptionConfig(streams=(StreamRule(compute=compute, freshness="all"),))
    step = PerceptionStep(config, networks, index, LoopStats())  # type: ignore[arg-type]
    endings = Endings(lambda record: None)
    prepared = step.prepare([record_of(image)], endings)
    assert prepared is not None
    step.infer(prepared, endings)
    batch = endings.build(LoopStats(), 0)
    assert (len(batch.results), len(batch.deadletters)) == (topics, 0)
    assert reader.asked == asked


def record_of(image: np.ndarray) -> FrameRecord:
    height, width = image.shape[:2]
    sent = SentFrameHeaders(
        codec=FrameCodec.PNG, seq=0, captured_at_ns=time.time_ns(), width=width, height=height, keyframe=True
    )
    payload = cv2.imencode(".png", image)[1].tobytes()
    headers = parse_frame_headers(list(encode(sent)))
    origin = Origin("foveal.frames", 0, 0)
    return FrameRecord(
        origin=origin, part_offsets=(0,), stream_id="door", payload=payload, appended_at_ms=0, headers=headers, raws=()
    )
