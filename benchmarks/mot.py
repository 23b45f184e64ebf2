"""HOTA, IDF1 and MOTA of our detector, ReID and tracker on MOTChallenge folders, beside peers' detections.

    python -m benchmarks.mot FOLDER                               # one sequence, or a folder of them
    python -m benchmarks.mot FOLDER --peer yolox_nano --given     # the same tracker on other detections
    python -m benchmarks.mot FOLDER --out out/tracking            # an annotated clip of each sequence

Tracker and least score of a detection are the service's (`--config`), for the peers as well. `--given` takes each
sequence's own det/det.txt. Percent, as TrackEval has it; the last line is our own row as JSON, with all rows as `rows`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.config import AppConfig, load_config
from benchmarks.motchallenge import MotFolderError, MotSequence, judge, open_folder
from foveal.annotate import annotate
from foveal.videofile import VideoFile
from models.detection import PERSON, Detections
from models.detection.finder import Finder, open_finder
from models.detection.peers import PEERS, find_with
from models.engine import load_engine
from models.reid import REID_NANO, Embedder
from models.tracking import Tracker
from streams.messages import Identity, PeopleResult, Person

__all__ = ["main", "track_sequence"]

GIVEN = "det.txt"

Image = NDArray[np.uint8]
Find = Callable[[Image, int], Detections]
Embed = Callable[[Image, NDArray[np.float32]], NDArray[np.float32]]
Show = Callable[[Image, int, Detections, NDArray[np.int64]], None]


def track_sequence(
    sequence: MotSequence,
    find: Find,
    tracker: Tracker,
    *,
    embed: Embed | None = None,
    least_score: float = 0.0,
    show: Show | None = None,
) -> list[str]:
    """Its tracks, in MOTChallenge's lines; numbers from 1. `find` gets the picture and the frame's number, from 1;
    `embed` tells how the people in boxes float32 [N, 4] of a picture look."""
    lines: list[str] = []
    for number in range(1, len(sequence.frames) + 1):
        image = sequence.read(number)
        found = find(image, number)
        people = found.where((found.classes == PERSON) & (found.scores >= least_score))
        looks = None if embed is None else embed(image, people.boxes_xyxy)
        ids = tracker.update(people, image, number / sequence.fps, embeddings=looks)
        for who, box, score in zip(ids, people.boxes_xyxy, people.scores, strict=True):
            if who >= 0:
                left, top, right, bottom = (float(edge) for edge in box)
                size = f"{right - left:.2f},{bottom - top:.2f}"
                lines.append(f"{number},{who + 1},{left:.2f},{top:.2f},{size},{float(score):.4f},1,-1,-1")
        if show is not None:
            show(image, number, people, ids)
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each detector and sequence, and the figures as JSON."""
    options = _options(arguments)
    config = load_config(options.config, os.environ)
    try:
        sequences = open_folder(options.data)
    except MotFolderError as error:
        raise SystemExit(f"error: {error}") from error
    rows: list[dict[str, Any]] = []
    perception = config.perception
    with load_engine(REID_NANO, config.engine, from_uint8=True) as looks:
        embedder = Embedder(looks)
        embed = None if options.no_looks else lambda image, boxes: embedder.embed([image], [boxes])
        ours = open_finder(
            perception.detector, config.engine, perception.detector_folder, threshold=perception.detector_threshold
        )
        finders: dict[str, Callable[[MotSequence], Find]] = {perception.detector: lambda _: _ours(ours)}
        finders |= {name: _peer(name, options.mirror) for name in options.peer}
        if options.given:
            finders[GIVEN] = _given
        for name, finder in finders.items():
            out = options.out if name == perception.detector else None
            rows += _measure(name, finder, sequences, config, embed, options.benchmark, out)
    mine = next(row for row in rows if row["detections"] == perception.detector and row["sequence"] == "COMBINED")
    print(json.dumps({key: mine[key] for key in ("HOTA", "IDF1", "MOTA")} | {"unit": "percent", "rows": rows}))


def _measure(
    name: str,
    finder: Callable[[MotSequence], Find],
    sequences: Sequence[MotSequence],
    config: AppConfig,
    embed: Embed | None,
    benchmark: str | None,
    out: Path | None,
) -> list[dict[str, Any]]:
    tracks: dict[str, list[str]] = {}
    frames, began_s = 0, time.perf_counter()
    for sequence in sequences:
        tracker = Tracker(config.perception.tracking.model_copy(update={"frame_rate": sequence.fps}))
        with ExitStack() as stack:
            show = None
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                show = _shower(sequence, stack.enter_context(VideoFile(out / f"{sequence.name}.mp4", sequence.fps)))
            least_score = config.perception.detector_threshold
            tracks[sequence.name] = track_sequence(
                sequence, finder(sequence), tracker, embed=embed, least_score=least_score, show=show
            )
        frames += len(sequence.frames)
    per_s = round(frames / (time.perf_counter() - began_s), 1)
    rows = [
        {"detections": name, "sequence": sequence} | figures | {"frames_per_s": per_s}
        for sequence, figures in judge(sequences, tracks, benchmark).items()
    ]
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return rows


def _ours(detector: Finder) -> Find:
    return lambda image, _: detector.detect([image])[0]


def _peer(name: str, mirror: Path) -> Callable[[MotSequence], Find]:
    find = find_with(name, mirror)
    return lambda _: lambda image, _number: find(image)


def _given(sequence: MotSequence) -> Find:
    rows = sequence.given_detections()

    def find(_: Image, number: int) -> Detections:
        of_it = rows[rows[:, 0] == number].astype(np.float32)
        marks = np.full((len(of_it), 5, 2), np.nan, np.float32)
        return Detections(of_it[:, 1:5], of_it[:, 5], np.full(len(of_it), PERSON, np.int64), marks)

    return find


def _shower(sequence: MotSequence, clip: VideoFile) -> Show:
    def show(image: Image, number: int, people: Detections, ids: NDArray[np.int64]) -> None:
        height, width = image.shape[:2]
        seen = tuple(
            Person(
                box_xyxy=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                score=min(1.0, float(score)),
                track_id=int(who),
                identity=Identity(status="off"),
            )
            for who, box, score in zip(ids, people.boxes_xyxy, people.scores, strict=True)
            if who >= 0
        )
        result = PeopleResult(
            stream_id=sequence.name, seq=number, captured_at_ns=0, width=width, height=height, people=seen
        )
        clip.write(annotate(image, result, None, title=f"{sequence.name}  {number / sequence.fps:.2f} s"))

    return show


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    shared = Path(os.environ.get("FOVEAL_DATA", "../shared/data"))
    mirror = Path(os.environ.get("FOVEAL_MODEL_MIRROR", shared / "peers"))
    people = sorted(name for name, entry in PEERS.items() if entry.kind == PERSON)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mot", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a sequence's folder, or a folder of them")
    parser.add_argument("--peer", choices=people, action="append", default=[], help="may be given repeatedly")
    parser.add_argument("--mirror", type=Path, default=mirror, help="folder of the peers' files")
    parser.add_argument("--no-looks", action="store_true", help="without ReID: by motion and overlap alone")
    parser.add_argument("--given", action="store_true", help="also the detections of det/det.txt")
    parser.add_argument("--benchmark", choices=("MOT15", "MOT16", "MOT17", "MOT20"), help="whose rules hold")
    parser.add_argument("--config", type=Path, help="settings of the service in YAML")
    parser.add_argument("--out", type=Path, help="folder for an annotated clip of each sequence")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
