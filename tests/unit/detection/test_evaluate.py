"""The judge itself: on a labelled set of three pictures whose figures can be worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.detection import FACE, PERSON, Detections
from models.detection.evaluate import evaluate, main

Box = tuple[float, float, float, float]
MARKS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
# Of each picture, which its grey value names: boxes, and whether they are ignored.
LABELS: dict[int, list[tuple[Box, bool]]] = {
    50: [((10, 10, 30, 50), False)],
    100: [((5, 5, 25, 45), False), ((60, 0, 90, 60), True)],
    150: [],
}


def write_set(folder: Path, kind: int) -> Path:
    path = folder / ("face_test.csv" if kind == FACE else "person_test.csv")
    names = [f"l{axis}{index}" for index in range(1, 6) for axis in "xy"] if kind == FACE else []
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "x1", "y1", "x2", "y2", *names, "ignore"])
        for grey, rows in LABELS.items():
            for box, ignored in rows:
                marks = marks_in(box).reshape(-1).tolist() if names else []
                writer.writerow([f"{grey}.png", *box, *marks, int(ignored)])
    with tarfile.open(path.with_suffix(".tar"), "w") as tar:
        for grey in LABELS:
            _, packed = cv2.imencode(".png", np.full((64, 96, 3), grey, np.uint8))
            member = tarfile.TarInfo(f"{grey}.png")
            member.size = len(packed)
            tar.addfile(member, io.BytesIO(packed.tobytes()))
    return path


def marks_in(box: Box) -> NDArray[np.float32]:
    corner, far = np.array(box[:2]), np.array(box[2:])
    return (corner + MARKS * (far - corner)).astype(np.float32)


class Finder:
    """Answers what a table says of a picture: (box, score)s."""

    def __init__(self, table: dict[int, list[tuple[Box, float]]], kind: int, shift_px: float = 0.0) -> None:
        self.table, self.kind, self.shift_px = table, kind, shift_px

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        rows = self.table[int(image[0, 0, 0])]
        if not rows:
            return Detections.none()
        marks = np.stack([marks_in(box) + np.float32([self.shift_px, 0]) for box, _ in rows]).astype(np.float32)
        return Detections(
            np.array([box for box, _ in rows], np.float32),
            np.array([score for _, score in rows], np.float32),
            np.full(len(rows), self.kind, np.int64),
            marks,
        )


def perfect() -> dict[int, list[tuple[Box, float]]]:
    return {grey: [(box, 0.9) for box, ignored in rows if not ignored] for grey, rows in LABELS.items()}


@pytest.mark.parametrize("kind", [PERSON, FACE])
def test_a_perfect_finder(tmp_path: Path, kind: int) -> None:
    result = evaluate(write_set(tmp_path, kind), Finder(perfect(), kind))
    assert result["ap50_face" if kind == FACE else "ap50_person"] == 1.0
    assert (result["pictures"], result["positives"]) == (3, 2)
    assert kind == PERSON or result["landmark_error"] == 0.0


def test_a_false_one_between_two_true_ones(tmp_path: Path) -> None:
    table = perfect() | {150: [((40, 40, 60, 60), 0.8)]}
    table[100] = [(LABELS[100][0][0], 0.7)]
    result = evaluate(write_set(tmp_path, PERSON), Finder(table, PERSON))
    # Recall 1/2 at precision 1, then recall 1 at precision 2/3.
    assert result["ap50_person"] == pytest.approx(0.5 + 0.5 * 2 / 3, abs=1e-4)
    assert (result["f1"], result["f1_at_score"]) == (0.8, 0.7)  # two of two people, and one who is none


def test_what_lies_on_an_ignored_region_counts_neither_way(tmp_path: Path) -> None:
    table = perfect()
    table[100].append(((60, 0, 90, 55), 0.99))
    assert evaluate(write_set(tmp_path, PERSON), Finder(table, PERSON))["ap50_person"] == 1.0


def test_the_same_person_twice_is_one_and_a_false_one(tmp_path: Path) -> None:
    table = perfect()
    table[50] = [((10, 10, 30, 50), 0.95), ((11, 10, 31, 50), 0.93)]
    result = evaluate(write_set(tmp_path, PERSON), Finder(table, PERSON))
    assert result["ap50_person"] == pytest.approx(0.5 + 0.5 * 2 / 3, abs=1e-4)


def test_half_an_overlap_is_no_hit(tmp_path: Path) -> None:
    table = perfect()
    table[50] = [((10, 10, 30, 29), 0.95)]
    assert evaluate(write_set(tmp_path, PERSON), Finder(table, PERSON))["ap50_person"] < 0.5


def test_the_landmark_error_is_in_distances_of_the_eyes(tmp_path: Path) -> None:
    result = evaluate(write_set(tmp_path, FACE), Finder(perfect(), FACE, shift_px=2.0))
    assert result["landmark_error"] == pytest.approx(2.0 / (0.4 * 20), abs=1e-3)


def test_the_other_class_is_not_judged(tmp_path: Path) -> None:
    assert evaluate(write_set(tmp_path, PERSON), Finder(perfect(), FACE))["ap50_person"] == 0.0


def test_the_command_says_our_figures_on_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [str(write_set(tmp_path, kind)) for kind in (PERSON, FACE)]
    monkeypatch.setattr(sys, "argv", ["evaluate", "--data", *sets, "--long-side", "96"])
    main()
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"ap50_person", "ap50_face", "landmark_error"} <= set(said)
    assert [(row["detector"], row["pictures"]) for row in said["rows"]] == [
        (name, 3) for _ in sets for name in ("detector-small-2", "detector-nano-2")
    ]
    assert said["network"] == "detector-small-2"

    monkeypatch.setattr(sys, "argv", ["evaluate", "--data", *sets, "--long-side", "96", "--network", "detector-nano"])
    main()
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {row["detector"] for row in said["rows"]} == {said["network"]} == {"detector-nano-2"}
