"""Real people: six walk into a room one after another, and one of them is hidden for seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foveal.media import open_source
from models.detection import DETECTION_NANO, PERSON, Detections, Detector
from models.engine import EngineConfig, load_engine
from models.reid import REID_NANO, Embedder
from models.tracking import Tracker, TrackingConfig

CLIP = Path(__file__).parents[4] / "shared" / "data" / "video" / "one-by-one-person-detection.mp4"
ENGINE = EngineConfig(compiler="openvino", precision="f32", threads=1)
HIDDEN_S = (100.0, 103.5)
FROM_S, TO_S = 93.0, 131.0


@pytest.mark.skipif(not CLIP.is_file(), reason="the development clips are not here")
def test_two_people_are_two_numbers_though_one_is_hidden_for_seconds() -> None:
    detector = Detector(load_engine(DETECTION_NANO, ENGINE, from_uint8=True), threshold=0.25)
    embedder = Embedder(load_engine(REID_NANO, ENGINE, from_uint8=True))
    tracker = Tracker(TrackingConfig(high_score=0.25, new_score=0.4))
    seen: dict[int, list[float]] = {}
    for frame in open_source(str(CLIP)):
        if frame.index % 3 or not FROM_S <= frame.time_s <= TO_S:
            continue
        [found] = detector.detect([frame.image_bgr])
        hidden = HIDDEN_S[0] < frame.time_s < HIDDEN_S[1]
        people = Detections.none() if hidden else found.of_class(PERSON)
        looks = embedder.embed([frame.image_bgr], [people.boxes_xyxy])
        for number in tracker.update(people, frame.image_bgr, frame.time_s, embeddings=looks):
            if number >= 0:
                seen.setdefault(int(number), []).append(frame.time_s)
        assert tracker.splits == ()
    assert len(seen) == 2
    first, second = seen.values()
    assert min(first) < HIDDEN_S[0] < HIDDEN_S[1] < max(first)  # the same number before and after
    assert np.median(second) > max(first)
