"""Expressions over a track in the service: a clip's change is one event with its time; all goes with the partition."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.config import Capability, PerceptionConfig, StreamRule
from actors.decoding import DecodedFrame
from actors.endings import Endings
from actors.events import FaceSeen
from actors.following import Following
from actors.metrics import LoopStats
from actors.perception import PerceptionNetworks, PerceptionStep
from foveal.demo.inputs import talking_face
from foveal.media import open_source
from models.detection import DETECTION_NANO, Detector
from models.engine import EngineConfig, load_engine
from models.expression import EXPRESSION_NANO, EXPRESSIONS, ExpressionReader, Reading
from models.expression.postprocess import unreadable_reading
from streams.cloudevents import parse_result
from streams.headers import FrameCodec, SentFrameHeaders, encode, parse_frame_headers
from streams.messages import ExpressionsResult
from streams.records import FrameRecord, Origin

ENGINE = EngineConfig(compiler="openvino", precision="f32", threads=1)
START_NS = 1_700_000_000_000_000_000
FPS = 30_000 / 1001


@dataclass
class Played:
    results: list[ExpressionsResult] = field(default_factory=list)
    step: Any = None

    def at_s(self, ns: int) -> float:
        return (ns - START_NS) / 1e9


def play(compute: tuple[Capability, ...], frames: int = 120) -> Played:
    detector = Detector(load_engine(DETECTION_NANO, ENGINE, from_uint8=True))
    reader = ExpressionReader(load_engine(EXPRESSION_NANO, ENGINE, from_uint8=True))
    networks = PerceptionNetworks(detector, SimpleNamespace(), reader, "none")  # type: ignore[arg-type]
    config = PerceptionConfig(streams=(StreamRule(compute=compute, freshness="all"),))
    step = PerceptionStep(config, networks, SimpleNamespace(available=True), LoopStats())  # type: ignore[arg-type]
    played = Played(step=step)
    for frame in open_source(str(talking_face())):
        if frame.index >= frames:
            break
        endings = Endings(lambda record: None)
        prepared = step.prepare([record_of(frame.image_bgr, frame.index)], endings)
        assert prepared is not None
        step.infer(prepared, endings)
        batch = endings.build(LoopStats(), 0)
        assert not batch.deadletters
        [result] = [r for r in batch.results if r.topic_role == "expressions"]
        message = parse_result(result.headers, result.value).result
        assert isinstance(message, ExpressionsResult)
        played.results.append(message)
    return played


def record_of(image: NDArray[np.uint8], seq: int) -> FrameRecord:
    height, width = image.shape[:2]
    sent = SentFrameHeaders(
        codec=FrameCodec.PNG,
        seq=seq,
        captured_at_ns=START_NS + round(seq / FPS * 1e9),
        width=width,
        height=height,
        keyframe=True,
    )
    return FrameRecord(
        origin=Origin("foveal.frames", 0, seq),
        part_offsets=(seq,),
        stream_id="phone",
        payload=cv2.imencode(".png", image)[1].tobytes(),
        appended_at_ms=0,
        headers=parse_frame_headers(list(encode(sent))),
        raws=(),
    )


def test_a_real_clips_surprise_is_one_event_with_its_time() -> None:
    played = play(("expressions",))
    changes = [change for result in played.results for change in result.changes]
    surprises = [played.at_s(one.at_ns) for one in changes if one.after == "surprise"]
    assert any(1.8 < at < 2.5 for at in surprises)
    assert changes[0].before is None
    assert all(first.after == second.before for first, second in pairwise(changes))
    faces = [face for result in played.results for face in result.faces if face.expression is not None]
    raw = [face.expression.label for face in faces if face.expression]
    smooth = [face.smoothed.label for face in faces if face.smoothed]
    assert len(smooth) > 0.9 * len(raw)
    assert flips(smooth) < flips(raw) / 2
    assert len(changes) < flips(raw) / 2


def test_state_goes_with_the_partition() -> None:
    played = play(("expressions",), frames=12)
    assert played.step.streams == 1
    assert any(result.changes for result in played.results)
    played.step.forget_inferred([("foveal.frames", 0)])
    assert len(played.step._followed) == 0


def flips(labels: list[str]) -> int:
    return sum(a != b for a, b in pairwise(labels))


def face(label: str | None, track: int | None, score: float = 0.9) -> FaceSeen:
    if label is None:
        reading = unreadable_reading("too small")
    else:
        shares = np.full(7, 0.2 / 6, np.float32)
        shares[EXPRESSIONS.index(label)] = 0.8
        reading = Reading(shares, label, 0.0, 0.0, 0.2)
    marks = np.full((5, 2), np.nan, np.float32)
    return FaceSeen(np.array([0, 0, 9, 9], np.float32), score, marks, track, reading)


def frame_at(at_s: float) -> DecodedFrame:
    return SimpleNamespace(record=SimpleNamespace(captured_at_ns=round(at_s * 1e9)))  # type: ignore[return-value]


def test_tracks_are_apart_and_unreadable_faces_are_not_guessed() -> None:
    following, changes = Following(PerceptionConfig()), []
    for i in range(20):
        faces = [face("happy", 1), face("sad" if i != 10 else None, 2), face("fear", None), face("fear", 1, 0.5)]
        changes += following.smooth(frame_at(100 + i / 20), faces)
        assert faces[0].smoothed is not None
        assert faces[0].smoothed.label == "happy"
        assert (faces[1].smoothed is None) == (i == 10)
        assert faces[2].smoothed is None  # on no track
        assert faces[3].smoothed is None  # the fainter of two faces on one person
    assert [(one.track_id, one.change.after) for one in changes] == [(1, "happy"), (2, "sad")]


@pytest.mark.parametrize("jump_s", [-50.0, 50.0])
def test_a_clock_set_anew_begins_afresh(jump_s: float) -> None:
    following = Following(PerceptionConfig())
    for i in range(20):
        following.smooth(frame_at(100 + i / 20), [face("happy", 1)])
    sad = face("sad", 1)
    following.smooth(frame_at(101 + jump_s), [sad])
    assert sad.smoothed is not None
    assert sad.smoothed.label == "sad"
