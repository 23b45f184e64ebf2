"""MOTChallenge folders: figures worked out by hand, the rules for distractors, and what is said of bad ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.mot import main, track_sequence
from benchmarks.motchallenge import MotFolderError, judge, open_folder
from models.detection import PERSON, Detections
from models.tracking import Tracker, TrackingConfig

FRAMES = 10
INFO = """[Sequence]
name={name}
imDir=img1
frameRate=10
seqLength=10
imWidth=320
imHeight=160
imExt=.png
"""


def left_of(who: int, frame: int) -> float:
    return 10 + 100 * who + 2 * frame


def write_sequence(folder: Path, name: str = "TEST-01", extra: list[str] | None = None) -> Path:
    """Two walkers; `extra` are more lines of gt.txt."""
    home = folder / name
    for part in ("img1", "gt", "det"):
        (home / part).mkdir(parents=True)
    (home / "seqinfo.ini").write_text(INFO.format(name=name))
    truth, found = [], []
    for frame in range(1, FRAMES + 1):
        image = np.full((160, 320, 3), 90, np.uint8)
        for who in range(2):
            x = left_of(who, frame)
            cv2.rectangle(image, (int(x), 40), (int(x) + 30, 120), (200, 60 * who, 30), -1)
            truth.append(f"{frame},{who + 1},{x},40,30,80,1,1,1.0")
            found.append(f"{frame},-1,{x},40,30,80,0.9,-1,-1,-1")
        cv2.imwrite(str(home / "img1" / f"{frame:06d}.png"), image)
    (home / "gt" / "gt.txt").write_text("\n".join(truth + (extra or [])) + "\n")
    (home / "det" / "det.txt").write_text("\n".join(found) + "\n")
    return home


def lines_of(track: Callable[[int, int], int | None], people: int = 2) -> list[str]:
    lines = []
    for frame in range(1, FRAMES + 1):
        for who in range(people):
            if (number := track(who, frame)) is not None:
                lines.append(f"{frame},{number},{left_of(who, frame)},40,30,80,0.9,1,-1,-1")
    return lines


def test_the_figures_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    sequences = open_folder(write_sequence(tmp_path))
    perfect = judge(sequences, {"TEST-01": lines_of(lambda who, _: who + 1)})
    assert perfect["TEST-01"] == perfect["COMBINED"]
    assert {perfect["COMBINED"][key] for key in ("HOTA", "IDF1", "MOTA")} == {100}
    half = judge(sequences, {"TEST-01": lines_of(lambda who, frame: 9 if who == 0 and frame > 5 else who + 1)})
    assert half["COMBINED"]["IDSW"] == 1
    assert half["COMBINED"]["MOTA"] == 95  # 20 boxes, one switch
    assert half["COMBINED"]["IDF1"] == 75  # 15 of 20 under the number that fits best
    none = judge(sequences, {"TEST-01": []})
    assert {none["COMBINED"][key] for key in ("HOTA", "IDF1", "MOTA")} == {0}


@pytest.mark.parametrize(
    ("kind", "name", "excused"), [(8, "TEST-01", True), (6, "TEST-01", False), (6, "MOT20-01", True)]
)
def test_a_track_on_a_distractor_counts_for_nothing(tmp_path: Path, kind: int, name: str, excused: bool) -> None:
    distractor = [f"{frame},7,{left_of(2, frame)},40,30,80,1,{kind},1.0" for frame in range(1, FRAMES + 1)]
    sequences = open_folder(write_sequence(tmp_path, name, distractor))
    found = judge(sequences, {name: lines_of(lambda who, _: who + 1, people=3)})["COMBINED"]
    assert found["FP"] == (0 if excused else FRAMES)
    assert found["FN"] == 0


def test_people_who_are_marked_0_are_not_missed(tmp_path: Path) -> None:
    marked = [f"{frame},7,{left_of(2, frame)},40,30,80,0,1,0.2" for frame in range(1, FRAMES + 1)]
    found = judge(open_folder(write_sequence(tmp_path, extra=marked)), {"TEST-01": lines_of(lambda who, _: who + 1)})
    assert found["COMBINED"]["MOTA"] == 100


def test_the_tracker_gets_pictures_boxes_and_times(tmp_path: Path) -> None:
    [sequence] = open_folder(write_sequence(tmp_path))

    def find(image: np.ndarray, frame: int) -> Detections:  # type: ignore[type-arg]
        assert image.shape == (160, 320, 3)
        boxes = [(left_of(who, frame), 40, left_of(who, frame) + 30, 120) for who in range(2)]
        return Detections(
            np.array(boxes, np.float32),
            np.array([0.9, 0.1], np.float32),
            np.full(2, PERSON),
            np.full((2, 5, 2), np.nan, np.float32),
        )

    lines = track_sequence(sequence, find, Tracker(TrackingConfig(frame_rate=sequence.fps)), least_score=0.2)
    assert {line.split(",")[1] for line in lines} == {"1"}  # the second is too weak
    found = judge([sequence], {"TEST-01": lines})["COMBINED"]
    assert found["FP"] == 0
    assert found["FN"] == 20 - len(lines)


def test_the_command_measures_a_folder_of_sequences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sequence(tmp_path / "data", "TEST-01")
    write_sequence(tmp_path / "data", "TEST-02")
    main([str(tmp_path / "data"), "--given", "--out", str(tmp_path / "out")])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["unit"] == "percent"
    assert {"HOTA", "IDF1", "MOTA"} <= set(result)
    rows = {(row["detections"], row["sequence"]): row for row in result["rows"]}
    given = rows["det.txt", "COMBINED"]
    assert given["IDSW"] == 0
    assert given["MOTA"] >= 85  # the frames before a track is confirmed
    assert result["HOTA"] == rows["detector-nano", "COMBINED"]["HOTA"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"TEST-01.mp4", "TEST-02.mp4"}


def remove(name: str) -> Callable[[Path], None]:
    return lambda home: (home / name).unlink()


def put(name: str, text: str) -> Callable[[Path], None]:
    def write(home: Path) -> None:
        (home / name).write_text(text)

    return write


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (remove("seqinfo.ini"), "seqinfo.ini: expected the sequence's description"),
        (put("seqinfo.ini", "name=x"), r"expected a section \[Sequence\]"),
        (put("seqinfo.ini", "[Sequence]\nseqLength=10"), "frameRate: expected a number above 0, got 'nothing'"),
        (remove("gt/gt.txt"), r"gt\.txt: expected it"),
        (put("gt/gt.txt", "1,2,3\n"), r"gt\.txt, line 1: expected 8 numbers or more"),
        (put("gt/gt.txt", "1,1,a,1,1,1,1,1\n"), r"gt\.txt: expected numbers"),
        (put("gt/gt.txt", "11,1,1,1,1,1,1,1\n"), "expected frames 1 to 10, got frame 11"),
        (remove("img1/000004.png"), "1 are missing, first 000004.png"),
    ],
)
def test_a_bad_folder_is_told_what_it_lacks(tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    home = write_sequence(tmp_path)
    spoil(home)
    with pytest.raises(MotFolderError, match=said):
        open_folder(home)


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is no folder"):
        main([str(tmp_path / "absent")])
    with pytest.raises(MotFolderError, match=r"SEQUENCE/gt/gt\.txt"):
        open_folder(tmp_path)


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    home = write_sequence(tmp_path)
    (home / "img1" / "000002.png").write_text("no picture")
    [sequence] = open_folder(home)
    with pytest.raises(MotFolderError, match=r"000002\.png: expected a picture"):
        sequence.read(2)
