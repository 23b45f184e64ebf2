"""`foveal reconstruct` on frames of the committed room, with the shipped network."""

from __future__ import annotations

import csv
import json
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from foveal.cli import app
from foveal.demo.sequence import ROOM
from models.ssr.metrics import psnr_db
from models.ssr.sequence_file import load_sequence
from streams.exr import decode_exr_image
from training.ssr.frames import FrameFileError, write_frame

SIZE_WH = (320, 180)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_HOME", str(tmp_path / "home"))


def render_to(folder: Path, numbers: tuple[int, ...], *, references: bool = True) -> list[Any]:
    room = list(islice(load_sequence(ROOM), len(numbers)))
    for number, (planes, reference) in zip(numbers, room, strict=True):
        extras = {"reference": reference} if references and reference is not None else {}
        write_frame(folder / f"{number:04d}.exr", {**planes, **extras})
    return room


def call(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["reconstruct", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "frames.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_pictures_and_figures_of_each_frame(tmp_path: Path) -> None:
    room = render_to(tmp_path / "in", (0, 1, 2))
    summary = call(tmp_path / "in", "--out", tmp_path / "out", "--precision", "f32")
    assert (summary["frames"], summary["engine"], summary["precision"]) == (3, "openvino", "f32")
    rows = rows_of(tmp_path / "out")
    assert [row["frame"] for row in rows] == ["0000", "0001", "0002"]
    assert [row["history_frames"] for row in rows] == ["0", "1", "2"]
    assert [row["temporal"] == "" for row in rows] == [True, False, False]
    for index, (planes, reference) in enumerate(room):
        payload = (tmp_path / "out" / f"{index:04d}.exr").read_bytes()
        linear = decode_exr_image(payload, *SIZE_WH).astype(np.float32) * summary["exposure"]
        wanted = reference * np.float32(summary["exposure"])
        assert psnr_db(linear, wanted) == pytest.approx(float(rows[index]["psnr"]), abs=0.05)
        # far nearer to the reference than what went in, whose holes are filled with its own mean
        noisy = planes["radiance"] * np.float32(4 * summary["exposure"])
        assert float(rows[index]["psnr"]) > psnr_db(noisy, wanted) + 8
        shown = cv2.imread(str(tmp_path / "out" / f"{index:04d}.png"))
        assert shown.shape == (180, 320, 3)
        assert 20 < float(shown.mean()) < 235
    assert summary["psnr"] == pytest.approx(np.mean([float(row["psnr"]) for row in rows]), abs=1e-3)


def test_a_frame_that_is_left_out_begins_afresh(tmp_path: Path) -> None:
    render_to(tmp_path / "in", (4, 5, 9), references=False)
    summary = call(tmp_path / "in", "--out", tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [row["history_frames"] for row in rows] == ["0", "1", "0"]
    assert {row["psnr"] for row in rows} == {""}
    assert "psnr" not in summary
    assert summary["exposure"] is None


def test_the_input_s_folder_is_never_written_to(tmp_path: Path) -> None:
    render_to(tmp_path, (0,))
    before = (tmp_path / "0000.exr").read_bytes()
    with pytest.raises(FrameFileError, match="another --out"):
        call(tmp_path, "--out", tmp_path)
    assert (tmp_path / "0000.exr").read_bytes() == before


def test_planes_that_do_not_do_are_named_with_their_file(tmp_path: Path) -> None:
    (planes, _reference) = next(load_sequence(ROOM))
    write_frame(tmp_path / "in" / "0000.exr", {name: planes[name] for name in planes if name != "normal"})
    with pytest.raises(FrameFileError, match=r"in/0000: plane normal: is missing"):
        call(tmp_path / "in", "--out", tmp_path / "out")


def test_help_has_examples() -> None:
    for command in ("reconstruct", "render"):
        text = CliRunner().invoke(app, [command, "--help"]).stdout
        assert "Examples" in text
        assert f"foveal {command}" in text
