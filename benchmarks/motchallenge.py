"""MOTChallenge folders (Dendorfer et al., IJCV 2021): what a sequence holds, and TrackEval's judgement of tracks.

TrackEval (Luiten et al., IJCV 2021) does all that decides a figure: it reads gt.txt itself, takes pedestrians only,
leaves out what is marked 0, and counts tracks on people on vehicles, static people, distractors and reflections for
nothing (in MOT20 on vehicles, too; MOT15 has no classes).
"""

from __future__ import annotations

import configparser
import contextlib
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MotFolderError", "MotSequence", "judge", "open_folder"]

SHARES = {"HOTA": ("HOTA", "DetA", "AssA"), "CLEAR": ("MOTA", "MOTP"), "Identity": ("IDF1",)}
COUNTS = {"CLEAR": ("IDSW", "Frag", "CLR_FP", "CLR_FN")}
PERCENT = 100.0


class MotFolderError(ValueError):
    """A folder is no MOTChallenge sequence, and what it lacks."""


@dataclass(frozen=True, slots=True)
class MotSequence:
    """One sequence. `frames` are its pictures in order; frame 1 is the first one."""

    name: str
    folder: Path
    frames: tuple[Path, ...]
    fps: float
    size_wh: tuple[int, int]

    def read(self, number: int) -> NDArray[np.uint8]:
        """Frame `number`, from 1, uint8 [H, W, 3] BGR. Raises: MotFolderError."""
        path = self.frames[number - 1]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise MotFolderError(f"{path}: expected a picture, got a file that is none; copy the sequence again")
        return np.asarray(image, np.uint8)

    def given_detections(self) -> NDArray[np.float64]:
        """det/det.txt as float64 [N, 6]: frame, x1, y1, x2, y2, score. Raises: MotFolderError."""
        rows = _rows(self.folder / "det" / "det.txt", 7)
        boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
        return np.concatenate([rows[:, :1], boxes, np.clip(rows[:, 6:7], 0, 1)], axis=1)


def open_folder(data: Path) -> list[MotSequence]:
    """The sequence that `data` is, or those in it, by name. Raises: MotFolderError with what is missing."""
    if not data.is_dir():
        raise MotFolderError(f"DATA: expected a MOTChallenge folder, {str(data)!r} is no folder")
    folders = [data] if _looks_like_one(data) else sorted(one for one in data.iterdir() if _looks_like_one(one))
    if not folders:
        raise MotFolderError(
            f"DATA: expected SEQUENCE/seqinfo.ini, SEQUENCE/img1 and SEQUENCE/gt/gt.txt, or a folder of such, "
            f"got {str(data)!r}, where neither it nor a folder in it has any of them"
        )
    return [_open(folder) for folder in folders]


def judge(
    sequences: Sequence[MotSequence], tracks: Mapping[str, Sequence[str]], benchmark: str | None = None
) -> dict[str, dict[str, float]]:
    """TrackEval's figures of each sequence by its name, and of all together as `COMBINED`.

    `tracks` are the lines `frame,id,left,top,width,height,score,1,-1,-1` of each sequence, ids from 1. Shares are in
    percent, as TrackEval prints them; HOTA is the mean over its 19 thresholds. `benchmark` (MOT15, MOT16, MOT17,
    MOT20) says whose rules hold; None goes by the names of the sequences and their classes.
    """
    from trackeval.datasets import MotChallenge2DBox
    from trackeval.metrics import CLEAR, HOTA, Identity

    metrics: dict[str, Any] = {
        "HOTA": HOTA(),
        "CLEAR": CLEAR({"PRINT_CONFIG": False}),
        "Identity": Identity({"PRINT_CONFIG": False}),
    }
    raw: dict[str, dict[str, Any]] = {name: {} for name in metrics}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        answers = Path(folder) / "ours" / "data"
        answers.mkdir(parents=True)
        for one in sequences:
            (answers / f"{one.folder.name}.txt").write_text("".join(f"{line}\n" for line in tracks[one.name]))
            dataset = MotChallenge2DBox(
                {
                    "GT_FOLDER": str(one.folder.parent),
                    "TRACKERS_FOLDER": folder,
                    "TRACKERS_TO_EVAL": ["ours"],
                    "SEQ_INFO": {one.folder.name: len(one.frames)},
                    "SKIP_SPLIT_FOL": True,
                    "BENCHMARK": benchmark or _benchmark(one),
                    "PRINT_CONFIG": False,
                }
            )
            data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("ours", one.folder.name), "pedestrian")
            for name, metric in metrics.items():
                raw[name][one.name] = metric.eval_sequence(data)
        combined = {name: metric.combine_sequences(raw[name]) for name, metric in metrics.items()}
    table = {one.name: _figures({name: raw[name][one.name] for name in metrics}) for one in sequences}
    return table | {"COMBINED": _figures(combined)}


def _figures(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    shares = {
        key: round(PERCENT * float(np.mean(found[name][key])), 3) for name, keys in SHARES.items() for key in keys
    }
    return shares | {key.removeprefix("CLR_"): int(found[name][key]) for name, keys in COUNTS.items() for key in keys}


def _looks_like_one(folder: Path) -> bool:
    return folder.is_dir() and any((folder / part).exists() for part in ("seqinfo.ini", "img1", "gt"))


def _open(folder: Path) -> MotSequence:
    info = _info(folder / "seqinfo.ini")
    pictures = folder / info.get("imdir", "img1")
    if not pictures.is_dir():
        raise MotFolderError(f"{pictures}: expected the folder of the sequence's frames, it is not there")
    count, fps = int(_number(folder, info, "seqLength")), _number(folder, info, "frameRate")
    size_wh = (int(_number(folder, info, "imWidth")), int(_number(folder, info, "imHeight")))
    suffix = info.get("imext", ".jpg")
    frames = tuple(pictures / f"{number:06d}{suffix}" for number in range(1, count + 1))
    missing = [frame.name for frame in frames if not frame.is_file()]
    if missing:
        raise MotFolderError(
            f"{pictures}: expected {count} frames (seqLength of seqinfo.ini), {len(missing)} are missing, "
            f"first {missing[0]}"
        )
    truth = _rows(folder / "gt" / "gt.txt", 8)
    late = truth[(truth[:, 0] < 1) | (truth[:, 0] > count)]
    if len(late):
        raise MotFolderError(f"{folder / 'gt' / 'gt.txt'}: expected frames 1 to {count}, got frame {late[0, 0]:g}")
    return MotSequence(
        name=info.get("name", folder.name),
        folder=folder.resolve(),
        frames=frames,
        fps=fps,
        size_wh=size_wh,
    )


def _info(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise MotFolderError(f"{path}: expected the sequence's description, it is not there")
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        return dict(parser["Sequence"])
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise MotFolderError(f"{path}: expected a section [Sequence] of `name = value` lines, got: {error}") from error


def _number(folder: Path, info: Mapping[str, str], key: str) -> float:
    text = info.get(key.lower(), "nothing")
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise MotFolderError(f"{folder / 'seqinfo.ini'}: {key}: expected a number above 0, got {text!r}")
    return value


def _rows(path: Path, columns: int) -> NDArray[np.float64]:
    """Lines of numbers as float64 [N, columns or more]; an empty file is [0, columns]."""
    if not path.is_file():
        raise MotFolderError(f"{path}: expected it, it is not there")
    lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    short = [number for number, line in enumerate(lines, start=1) if len(line) < columns]
    if short:
        raise MotFolderError(
            f"{path}, line {short[0]}: expected {columns} numbers or more with commas between, "
            f"got {','.join(lines[short[0] - 1])!r}"
        )
    try:
        return np.array([line[:columns] for line in lines], np.float64).reshape(-1, columns)
    except ValueError as error:
        raise MotFolderError(f"{path}: expected numbers with commas between, got: {error}") from error


def _benchmark(sequence: MotSequence) -> str:
    if sequence.name.startswith("MOT20"):
        return "MOT20"
    classes = _rows(sequence.folder / "gt" / "gt.txt", 8)[:, 7]
    return "MOT15" if len(classes) and (classes < 1).all() else "MOT17"
