"""Compare the trackers on synthetic streets: walkers who cross and hide one another, misses, false alarms, a pan.

`python -m benchmarks.tracking [--seeds 3] [--first-seed 2] [--json PATH]`: HOTA, IDF1 and identity switches (the
metrics of the `trackers` package, which follow TrackEval), the share of the detections that are embedded, and the time
of one update. No pictures are needed: a
detection's score falls and then the detection vanishes as another walker hides it; how people look is a vector each,
mixed with the vector of who covers them and with noise, so that two views have the cosines of reid-nano's within one
camera (median 0.68; of two people 0.02).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from actors.config import PerceptionConfig
from actors.events import PersonSeen
from actors.steady import SteadyPeople
from models.tracking import Tracker, TrackingConfig
from models.tracking.config import Method

__all__ = ["Frame", "Scene", "compare", "main", "run", "street"]

SIZE_WH = (1280, 720)
LOOKS, NOISE = 64, 0.69


@dataclass(frozen=True)
class Frame:
    """What a detector says of one frame, and the truth."""

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    captured_at_s: float
    truth_ids: NDArray[np.int64]
    truth_xyxy: NDArray[np.float32]
    views: NDArray[np.float32]
    """float32 [N, D], unit norm: how the detected look."""


Scene = list[Frame]
Looks = Literal["none", "each frame", "as served"]
"""Whether people are embedded, and how often; a replica does it at intervals (`actors.steady`)."""


def street(
    seed: int,
    *,
    walkers: int = 12,
    frames: int = 300,
    drop: float = 0.0,
    pan_px: float = 0.0,
    wall_px: float = 0.0,
) -> Scene:
    """Walkers on straight ways with some sway, near ones in front of far ones; 25 frames a second.

    `drop` is the share of frames that are lost before the tracker sees them (their capture times are kept);
    `pan_px` is how far the camera swings to either side; behind a wall of `wall_px` in the middle nobody is seen.
    """
    random = np.random.default_rng(seed)
    heights = random.uniform(110, 260, walkers)
    feet_y = 300 + heights * 1.4
    start_x = random.uniform(-200, SIZE_WH[0] + 200, walkers)
    speed = random.uniform(1.5, 6.0, walkers) * random.choice([-1, 1], walkers)
    phase = random.uniform(0, 6.28, walkers)
    looks = _unit(np.random.default_rng(seed + 1000).normal(size=(walkers, LOOKS)))
    scene: Scene = []
    for index in range(frames):
        if index and random.random() < drop:
            continue
        x = start_x + speed * index + 6 * np.sin(index / 9 + phase) - pan_px * np.sin(index / 20)
        width = heights * (0.38 + 0.05 * np.sin(index / 4 + phase))
        boxes = np.stack([x - width / 2, feet_y - heights, x + width / 2, feet_y], axis=1)
        inside = (boxes[:, 2] > 20) & (boxes[:, 0] < SIZE_WH[0] - 20)
        inside &= np.abs((boxes[:, 0] + boxes[:, 2]) / 2 - SIZE_WH[0] / 2) >= wall_px / 2
        hidden, hiders = _hidden_share(boxes)
        views = (1 - hidden)[:, None] * looks + hidden[:, None] * looks[hiders]
        scene.append(_observe(random, boxes, inside, hidden, views, index / 25))
    return scene


def compare(seeds: range = range(3)) -> dict[str, dict[str, dict[str, float]]]:
    """Mean figures by situation and tracker."""
    situations: dict[str, dict[str, float]] = {
        "plain": {},
        "crowded": {"walkers": 24},
        "one frame in three lost": {"drop": 0.33},
        "swinging camera": {"pan_px": 60.0},
        "a wall, 2 to 7 s behind it": {"wall_px": 280.0, "frames": 500},
    }
    rows: list[tuple[str, Method, Looks]] = [(method, method, "none") for method in get_args(Method)]
    rows += [("botsort and looks", "botsort", "each frame"), ("as served", "botsort", "as served")]
    return {
        name: {row: _measure(method, seeds, options, looks) for row, method, looks in rows}
        for name, options in situations.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="0 and 1 chose the settings of how looks are used")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    table = compare(range(arguments.first_seed, arguments.first_seed + arguments.seeds))
    columns = {"HOTA": "6.3f", "IDF1": "6.3f", "switches": "9.1f", "embedded": "9.2f", "update_ms": "10.2f"}
    for situation, rows in table.items():
        print(f"{situation}\n  {'tracker':18s}", *(f"{name:>{form.split('.')[0]}s}" for name, form in columns.items()))
        for method, row in rows.items():
            print(f"  {method:18s}", *(f"{row[name]:{form}}" for name, form in columns.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float64)


def _hidden_share(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How much of each walker the one in front of him (lower feet) who cuts most of him hides, and who that is."""
    left_top = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    right_bottom = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlap = np.clip(right_bottom - left_top, 0, None).prod(axis=2)
    in_front = boxes[None, :, 3] > boxes[:, None, 3]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    cut = overlap * in_front
    return cut.max(axis=1) / area, cut.argmax(axis=1)


def _observe(
    random: np.random.Generator,
    boxes: NDArray[np.float64],
    inside: NDArray[np.bool_],
    hidden: NDArray[np.float64],
    looks: NDArray[np.float64],
    at_s: float,
) -> Frame:
    """A detector's view: jitter, scores that fall with hiding, misses, false alarms."""
    seen = inside & (hidden < 0.75) & (random.random(len(boxes)) > 0.04)
    height = (boxes[:, 3] - boxes[:, 1])[:, None]
    noisy = boxes + random.normal(0, 0.015, boxes.shape) * height
    scores = np.clip(0.88 - 0.6 * hidden + random.normal(0, 0.06, len(boxes)), 0.05, 0.99)
    alarms = random.poisson(0.3)
    corner = random.uniform((0, 200), (SIZE_WH[0] - 100, 400), (alarms, 2))
    false = np.concatenate([corner, corner + random.uniform((40, 100), (90, 220), (alarms, 2))], axis=1)
    seen_looks = np.concatenate([_unit(looks[seen]), np.zeros((alarms, LOOKS))])
    noise = np.random.default_rng(round(at_s * 1000)).normal(size=seen_looks.shape)
    return Frame(
        boxes_xyxy=np.concatenate([noisy[seen], false]).astype(np.float32),
        scores=np.concatenate([scores[seen], random.uniform(0.1, 0.7, alarms)]).astype(np.float32),
        captured_at_s=at_s,
        truth_ids=np.flatnonzero(inside & (hidden < 0.9)).astype(np.int64),
        truth_xyxy=boxes[inside & (hidden < 0.9)].astype(np.float32),
        views=_unit(seen_looks + NOISE * _unit(noise)).astype(np.float32),
    )


def _measure(method: Method, seeds: range, options: dict[str, Any], looks: Looks) -> dict[str, float]:
    config = TrackingConfig(method=method, frame_rate=25)
    results = [run(Tracker(config), street(seed, **options), looks) for seed in seeds]
    return {name: round(statistics.fmean(result[name] for result in results), 4) for name in results[0]}


def run(tracker: Tracker, scene: Scene, looks: Looks) -> dict[str, float]:
    """Track a scene, by how people look as well where `looks` says so, and score it by MOT files, as the metrics do."""
    from trackers.eval import evaluate_mot_sequence

    every_s = PerceptionConfig().embed_every_s if looks == "as served" else 0.0
    steady = SteadyPeople(every_s, tracker.config.new_score, tracker.trust)
    truth, found, seconds, embedded = [], [], [], []
    for number, frame in enumerate(scene, start=1):
        people = [PersonSeen(box, float(score)) for box, score in zip(frame.boxes_xyxy, frame.scores, strict=True)]
        began = time.perf_counter()
        steady.find(frame.captured_at_s, people)
        fresh = np.array([person.before is None for person in people], bool)
        views = None if looks == "none" else np.where(fresh[:, None], frame.views, np.float32(0))
        ids = tracker.update(frame, captured_at_s=frame.captured_at_s, embeddings=views)
        seconds.append(time.perf_counter() - began)
        embedded += [bool(one) and looks != "none" for one in fresh]
        for person, who in zip(people, ids, strict=True):
            person.track_id, person.before = (int(who) if who >= 0 else None), None
        truth += [
            _mot_row(number, who + 1, box, 1.0) for who, box in zip(frame.truth_ids, frame.truth_xyxy, strict=True)
        ]
        found += [
            _mot_row(number, who + 1, box, score)
            for who, box, score in zip(ids, frame.boxes_xyxy, frame.scores, strict=True)
            if who >= 0
        ]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = [Path(folder) / name for name in ("truth.txt", "found.txt")]
        for path, rows in zip(paths, (truth, found), strict=True):
            path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        score = evaluate_mot_sequence(paths[0], paths[1], metrics=["CLEAR", "HOTA", "Identity"])
    return {
        "HOTA": float(score.HOTA.HOTA),
        "IDF1": float(score.Identity.IDF1),
        "switches": float(score.CLEAR.IDSW),
        "embedded": statistics.fmean(embedded),
        "update_ms": 1000 * statistics.median(seconds),
    }


def _mot_row(frame: int, who: int, box: NDArray[np.float32], score: float) -> str:
    x1, y1, x2, y2 = (float(value) for value in box)
    return f"{frame},{who},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{float(score):.3f},1,1"


if __name__ == "__main__":
    main()
