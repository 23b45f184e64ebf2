"""AP50 and landmark error on labelled photographs, torch-free; public peers by the same protocol in the same run.

    python -m models.detection.evaluate                                  # people and faces of ../shared/data/detect
    python -m models.detection.evaluate --peer yolox_nano --peer yunet   # beside public detectors
    python -m models.detection.evaluate --data FILE.csv --long-side 640  # FILE.tar lies beside it
    python -m models.detection.evaluate --network detector-nano          # ours of that name alone

Protocol: every detection of score 0.02 and more; a detection counts for the free label it overlaps most if their IoU
is 0.5 or more, best scores first; one that lies mostly on an ignored region counts neither way; average precision is
the area under the interpolated curve (as COCO, all points); `f1` is at the score that makes it largest. The landmark
error is the mean distance of the five landmarks of a matched face to its labels, divided by the distance of the eyes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tarfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detection import DETECTION_NANO, FACE, PERSON, Detections, Detector
from models.detection.peers import PEERS, find_with
from models.detection.spec import DETECTION_SMALL, DETECTORS, LONG_SIDES
from models.engine import EngineConfig, load_engine

__all__ = ["evaluate", "main"]

MIN_SCORE = 0.02
MATCH_IOU = 0.5
IGNORED_SHARE = 0.5
FIGURES = ("ap50_person", "ap50_face", "landmark_error")

Find = Callable[[NDArray[np.uint8]], Detections]


@dataclass
class _Labels:
    boxes: list[list[float]] = field(default_factory=list)
    marks: list[list[float]] = field(default_factory=list)
    ignored: list[bool] = field(default_factory=list)


def evaluate(data: Path, find: Find) -> dict[str, float | None]:
    """Run `find` over every picture of the tar beside the CSV; a CSV with landmarks judges faces, else people."""
    labels, kind = _read(data)
    scored: list[tuple[float, bool]] = []
    errors: list[float] = []
    positives, spent_s, pictures = 0, 0.0, 0
    with tarfile.open(data.with_suffix(".tar")) as tar:
        for member in tar.getmembers():
            source = tar.extractfile(member)
            if source is None:
                continue
            image = cv2.imdecode(np.frombuffer(source.read(), np.uint8), cv2.IMREAD_COLOR)
            began = time.perf_counter()
            found = find(np.asarray(image, np.uint8))
            spent_s += time.perf_counter() - began
            pictures += 1
            mine = labels.get(Path(member.name).name, _Labels())
            positives += mine.ignored.count(False)
            _judge(found.of_class(kind), mine, scored, errors)
    result: dict[str, float | None] = {
        f"ap50_{'face' if kind == FACE else 'person'}": round(_average_precision(scored, positives), 4)
    }
    result |= _best_threshold(scored, positives)
    if kind == FACE:
        result["landmark_error"] = round(float(np.mean(errors)), 4) if errors else None
    return result | {"ms": round(spent_s / max(pictures, 1) * 1e3, 2), "pictures": pictures, "positives": positives}


def main() -> None:
    """Print a line for each detector and set; on the last line our own figures as JSON, with all lines as `rows`.

    These are the first network's of those that were asked for.
    """
    options = _options()
    rows: list[dict[str, Any]] = []
    networks = [DETECTORS[name] for name in options.network or [DETECTION_SMALL.name, DETECTION_NANO.name]]
    with ExitStack() as stack:
        finders: dict[str, Find] = {}
        for spec in networks:
            engine = stack.enter_context(load_engine(spec, EngineConfig(), from_uint8=True))
            finders[spec.stem] = _find(Detector(engine, long_side=options.long_side, threshold=MIN_SCORE, spec=spec))
        finders |= {name: find_with(name, options.mirror) for name in options.peer}
        for data in options.data:
            for name, find in finders.items():
                if name in PEERS and PEERS[name].kind != _read(data)[1]:
                    continue
                rows.append({"data": data.name, "detector": name} | evaluate(data, find))
                print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    ours = [row for row in rows if row["detector"] == networks[0].stem]
    side = options.long_side or LONG_SIDES[networks[0].name]
    figures = {key: row[key] for row in ours for key in FIGURES if key in row}
    print(json.dumps({"network": networks[0].stem} | figures | {"long_side": side, "rows": rows}))


def _find(detector: Detector) -> Find:
    return lambda image: detector.detect([image])[0]


def _options() -> argparse.Namespace:
    shared = Path(os.environ.get("FOVEAL_DATA", "../shared/data"))
    mirror = Path(os.environ.get("FOVEAL_MODEL_MIRROR", shared / "peers"))
    parser = argparse.ArgumentParser(
        prog="python -m models.detection.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, nargs="+", help="CSV files, each with the tar of the same name beside it")
    parser.add_argument("--network", choices=sorted(DETECTORS), action="append", help="of ours; default: all")
    parser.add_argument("--long-side", type=int, help="of our detector's input, pixels; default: each one's own")
    parser.add_argument("--peer", choices=sorted(PEERS), action="append", default=[], help="may be given repeatedly")
    parser.add_argument("--mirror", type=Path, default=mirror, help="folder of the peers' files")
    options = parser.parse_args()
    options.data = options.data or [shared / "detect" / name for name in ("person_test.csv", "face_test.csv")]
    return options


def _read(path: Path) -> tuple[dict[str, _Labels], int]:
    labels: dict[str, _Labels] = defaultdict(_Labels)
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        kind = FACE if "lx1" in (rows.fieldnames or ()) else PERSON
        for row in rows:
            one = labels[row["file"]]
            one.boxes.append([float(row[name]) for name in ("x1", "y1", "x2", "y2")])
            one.ignored.append(row["ignore"] == "1")
            names = [f"l{axis}{index}" for index in range(1, 6) for axis in "xy"] if kind == FACE else []
            one.marks.append([float(row[name]) if row[name] else float("nan") for name in names])
    return labels, kind


def _judge(found: Detections, labels: _Labels, scored: list[tuple[float, bool]], errors: list[float]) -> None:
    boxes = np.array(labels.boxes, np.float32).reshape(-1, 4)
    ignored = np.array(labels.ignored, bool)
    taken = np.zeros(len(boxes), bool)
    for index in np.argsort(-found.scores, kind="stable"):
        box = found.boxes_xyxy[index]
        shared = _shared(box, boxes)
        area = np.prod(box[2:] - box[:2])
        iou = shared / np.maximum(area + np.prod(boxes[:, 2:] - boxes[:, :2], 1) - shared, 1e-6)
        open_iou = np.where(taken | ignored, 0, iou)
        best = int(open_iou.argmax()) if len(boxes) else -1
        if best >= 0 and open_iou[best] >= MATCH_IOU:
            taken[best] = True
            scored.append((float(found.scores[index]), True))
            _landmark_error(found.landmarks_xy[index], labels.marks[best], errors)
        elif not (shared[ignored] / max(area, 1e-6) >= IGNORED_SHARE).any():
            scored.append((float(found.scores[index]), False))


def _landmark_error(found: NDArray[np.float32], marks: list[float], errors: list[float]) -> None:
    wanted = np.array(marks, np.float32).reshape(-1, 2)
    if len(wanted) == len(found) and np.isfinite(wanted).all() and np.isfinite(found).all():
        eyes = float(np.linalg.norm(wanted[0] - wanted[1]))
        errors.append(float(np.linalg.norm(found - wanted, axis=1).mean()) / max(eyes, 1e-6))


def _shared(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[Any]:
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return np.asarray(np.prod(np.maximum(sides, 0), 1))


def _best_threshold(scored: list[tuple[float, bool]], positives: int) -> dict[str, float]:
    """The score at which the harmonic mean of precision and recall is largest, and that mean."""
    ordered = sorted(scored, key=lambda one: -one[0])
    hits = np.array([hit for _, hit in ordered]).cumsum()
    if not len(hits) or not positives:
        return {"f1": 0.0, "f1_at_score": 1.0}
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + positives)
    best = int(f1.argmax())
    return {"f1": round(float(f1[best]), 4), "f1_at_score": round(ordered[best][0], 3)}


def _average_precision(scored: list[tuple[float, bool]], positives: int) -> float:
    if not scored or not positives:
        return 0.0
    hits = np.array([hit for _, hit in sorted(scored, key=lambda one: -one[0])])
    recall = hits.cumsum() / positives
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best).sum())


if __name__ == "__main__":
    main()
