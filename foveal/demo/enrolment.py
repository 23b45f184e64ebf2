"""Before the demo plays, people of its videos are enrolled, as an operator would by `foveal enroll`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from actors.config import AppConfig
from foveal.demo.stage import DemoInput
from foveal.gallery import Gallery
from models.detection import DETECTION_NANO, PERSON, Detector
from models.engine import load_engine

__all__ = ["enrol_people"]

ENROL_AT_S = 1.0
NAMES = {"carphone": ("Carl",), "street": ("Walker A", "Walker B", "Walker C")}


def enrol_people(gallery_name: str, videos: list[DemoInput], config: AppConfig) -> Iterator[str]:
    """Enrol the largest people of one early frame of each video under made-up names; yields each name once done."""
    with (
        load_engine(DETECTION_NANO, config.engine, from_uint8=True) as engine,
        Gallery(gallery_name, config=config) as gallery,
    ):
        detector = Detector(engine, threshold=config.perception.detector_threshold)
        gallery.create()
        for video in videos:
            frame = next(islice(video.frames(), int(ENROL_AT_S * video.fps), None), None)
            if frame is None:
                continue
            people = detector.detect([frame])[0].of_class(PERSON).boxes_xyxy
            areas = np.prod(people[:, 2:] - people[:, :2], axis=1)
            for name, index in zip(NAMES.get(video.stream_id, ()), np.argsort(-areas), strict=False):
                left, top, right, bottom = (float(edge) for edge in people[index])
                gallery.enrol(name, image_bgr=frame, box=(left, top, right, bottom))
                yield name
