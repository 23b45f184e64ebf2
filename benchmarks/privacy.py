"""How many faces a public detector still finds in pictures whose faces were hidden: `python -m benchmarks.privacy`.

Clips are played through our detector and `foveal.privacy.Veil`, as `foveal express --privacy` does, in five variants
(whole, smaller, mirrored). YuNet, in the folder FOVEAL_MODEL_MIRROR (without it our own detector), looks at every
frame before and after. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.config import Privacy
from foveal.demo.inputs import talking_face
from foveal.media import SourceFrame, open_source
from foveal.privacy import FAINT_SCORE, Veil, faces_and_heads
from models.detection import FACE, Detections, Detector
from models.detection.peers import find_with
from models.detection.spec import DETECTION_SMALL
from models.engine import EngineConfig, load_engine

__all__ = ["VARIANTS", "main", "measure"]

HIT_SCORE = 0.5
Image = NDArray[np.uint8]
Judge = Callable[[Image], Detections]
VARIANTS: dict[str, Callable[[Image], Image]] = {
    "as it is": lambda image: image,
    "mirrored": lambda image: np.asarray(image[:, ::-1], np.uint8),
    "half size": lambda image: np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
    "three quarters": lambda image: np.asarray(cv2.resize(image, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)),
    "half size, mirrored": lambda image: VARIANTS["mirrored"](VARIANTS["half size"](image)),
}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.privacy", description=__doc__)
    parser.add_argument("clips", nargs="*", help="default: the talking face that the demo plays")
    parser.add_argument("--privacy", choices=get_args(Privacy), default="pixelate")
    parser.add_argument("--frames", type=int, default=1000, help="stop after so many")
    given = parser.parse_args()
    mirror = os.environ.get("FOVEAL_MODEL_MIRROR")
    with load_engine(DETECTION_SMALL, EngineConfig(), from_uint8=True) as engine:
        ours = Detector(engine, threshold=FAINT_SCORE, spec=DETECTION_SMALL)
        judge = find_with("yunet", Path(mirror)) if mirror else lambda image: ours.detect([image])[0]
        clips = given.clips or [str(talking_face())]
        result = measure(_frames(clips), ours, judge, given.privacy, most=given.frames)
    print(json.dumps({"judge": "yunet" if mirror else DETECTION_SMALL.stem, "privacy": given.privacy, **result}))


def measure(
    clips: Iterator[Iterator[SourceFrame]], detector: Detector, judge: Judge, privacy: Privacy, *, most: int
) -> dict[str, Any]:
    """Faces from HIT_SCORE on, in how many frames, before and after, and how much of the pictures is hidden; at
    most `most` frames over all clips.
    """
    count = {"frames": 0, "frames_with_a_face": 0, "faces": 0, "frames_with_a_hit": 0, "hits": 0}

    shares: list[float] = []

    def see(hidden: Image, plain: Image) -> None:
        shares.append(float((hidden != plain).any(axis=2).mean()))
        faces, hits = (_faces(judge(image)) for image in (plain, hidden))
        count["frames"] += 1
        count["faces"] += faces
        count["frames_with_a_face"] += faces > 0
        count["hits"] += hits
        count["frames_with_a_hit"] += hits > 0

    given = 0
    for clip in clips:
        veil: Veil[Image] = Veil(privacy)
        for frame in clip:
            if given == most:
                break
            given += 1
            [found] = detector.detect([frame.image_bgr])
            for pair in veil.add(frame.time_s, frame.image_bgr, faces_and_heads(found), frame.image_bgr):
                see(*pair)
        for pair in veil.finish():
            see(*pair)
    return {**count, "hidden_percent": round(100 * float(np.mean(shares)), 1)}


def _frames(clips: list[str]) -> Iterator[Iterator[SourceFrame]]:
    for change in VARIANTS.values():
        for clip in clips:
            yield (SourceFrame(change(one.image_bgr), one.index, one.time_s) for one in open_source(clip))


def _faces(found: Detections) -> int:
    return int((found.of_class(FACE).scores >= HIT_SCORE).sum())


if __name__ == "__main__":
    main()
