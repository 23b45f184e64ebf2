"""Folders of OpenEXR frames: what is written comes back, gaps are seen, and damage is named with its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.ssr.sequence_file import write_sequence
from streams.exr import encode_exr
from training.ssr.frames import FrameFileError, count_frames, read_frames, read_references, write_frame


def test_planes_and_extras_come_back(tmp_path: Path, wall: Any) -> None:
    planes = wall(0)
    reference = np.full((40, 56, 3), 0.25, np.float32)
    write_frame(tmp_path / "0000.exr", {**planes, "reference": reference})
    (frame,) = read_frames(tmp_path)
    assert (frame.name, frame.number) == ("0000", 0)
    assert set(frame.planes) == set(planes)
    assert set(frame.extras) == {"reference"}
    np.testing.assert_array_equal(frame.extras["reference"], reference)
    np.testing.assert_array_equal(frame.planes["depth"], planes["depth"])
    np.testing.assert_array_equal(frame.planes["mask"], planes["mask"])
    np.testing.assert_allclose(frame.planes["radiance"], planes["radiance"], rtol=1e-3)
    assert [file.name for file in tmp_path.iterdir()] == ["0000.exr"]


def test_frames_come_in_order_and_a_gap_breaks_the_stream(tmp_path: Path, wall: Any) -> None:
    for index in (10, 2, 3):
        write_frame(tmp_path / f"beauty.{index:04d}.exr", wall(index))
    frames = list(read_frames(tmp_path))
    assert [frame.number for frame in frames] == [2, 3, 10]
    assert not frames[0].follows(None)
    assert frames[1].follows(frames[0])
    assert not frames[2].follows(frames[1])
    assert count_frames(tmp_path) == 3
    assert list(read_references(tmp_path)) == [None, None, None]


def test_a_compact_sequence_is_read_too(tmp_path: Path, wall: Any) -> None:
    shown = [{**wall(index, 48, 64), **_rest(48, 64)} for index in range(2)]
    write_sequence(tmp_path / "seq", shown, [frame["albedo"] for frame in shown], {})
    frames = list(read_frames(tmp_path / "seq"))
    assert count_frames(tmp_path / "seq") == len(frames) == 2
    assert frames[1].follows(frames[0])
    assert frames[0].extras["reference"].shape == (48, 64, 3)


def _rest(height: int, width: int) -> dict[str, Any]:
    flat = np.zeros((height, width), np.float32)
    colour = np.zeros((height, width, 3), np.float32)
    return {"shadow": colour, "transparent": colour, "metallic": flat, "roughness": flat}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an OpenEXR file"),
        (b"\x89PNG" + bytes(100), "not an OpenEXR file"),
        (encode_exr({"albedo": np.zeros((8, 8, 3), np.float32)}), "no layer 'radiance'"),
        (encode_exr({"radiance": np.zeros((64, 64, 3), np.float32)})[:-20], "truncated or corrupted"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "0007.exr").write_bytes(content)
    with pytest.raises(FrameFileError, match=message) as caught:
        list(read_frames(tmp_path))
    assert "0007.exr" in str(caught.value)


def test_a_folder_without_frames_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(FrameFileError, match="foveal render"):
        count_frames(tmp_path)
    with pytest.raises(FrameFileError, match="no such folder"):
        count_frames(tmp_path / "none")
