"""The compact form of a sequence: what is written comes back within its steps, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.ssr.sequence_file import SequenceFileError, load_sequence, write_sequence

OPTIONAL = {"shadow": 3, "transparent": 3, "metallic": 1, "roughness": 1}


@pytest.fixture
def folder(tmp_path: Path, wall: Any) -> Path:
    write_sequence(tmp_path / "seq", _frames(wall), [_reference(wall, index) for index in range(6)], {"scene": "wall"})
    return tmp_path / "seq"


def _frames(wall: Any) -> list[dict[str, Any]]:
    frames = []
    for index in range(6):
        planes = wall(index, 48, 64)
        rng = np.random.default_rng(index)
        for name, channels in OPTIONAL.items():
            values = rng.random((48, 64, channels), np.float32)
            planes[name] = values if channels > 1 else values[..., 0]
        planes["shadow"] *= planes["mask"][..., None]
        planes["depth"] = planes["depth"] * rng.uniform(0.5, 4, planes["depth"].shape).astype(np.float32)
        planes["depth"][0] = 0
        planes["motion"] += rng.normal(0, 3, planes["motion"].shape).astype(np.float32)
        planes["radiance"] = np.minimum(planes["radiance"], 20)
        frames.append(planes)
    return frames


def _reference(wall: Any, index: int) -> Any:
    return wall(index, 48, 64)["albedo"] * np.float32(0.5)


def test_planes_come_back_within_their_steps(folder: Path, wall: Any) -> None:
    wanted = _frames(wall)
    came = list(load_sequence(folder))
    assert len(came) == 6
    for expected, (planes, _reference) in zip(wanted, came, strict=True):
        assert planes.keys() == expected.keys()
        np.testing.assert_array_equal(planes["mask"], expected["mask"])
        np.testing.assert_allclose(planes["radiance"], expected["radiance"], rtol=0.06, atol=1.2e-3)
        np.testing.assert_allclose(planes["depth"], expected["depth"], rtol=1e-3)
        np.testing.assert_allclose(planes["motion"], expected["motion"], atol=1 / 64 + 1e-6)
        assert float(np.abs(planes["albedo"] - expected["albedo"]).mean()) < 5e-3
        for name in ("normal", *OPTIONAL):
            np.testing.assert_allclose(planes[name], expected[name], atol=5e-3)


def test_references_are_close(folder: Path, wall: Any) -> None:
    for index, (_planes, reference) in enumerate(load_sequence(folder)):
        assert reference is not None
        assert float(np.abs(reference - _reference(wall, index)).mean()) < 0.01


def test_a_sequence_without_references(tmp_path: Path, wall: Any) -> None:
    write_sequence(tmp_path, _frames(wall), [], {})
    assert [reference for _planes, reference in load_sequence(tmp_path)] == [None] * 6


def test_another_mask_is_refused(tmp_path: Path, wall: Any) -> None:
    frames = _frames(wall)
    frames[1]["mask"] = frames[0]["mask"]
    with pytest.raises(SequenceFileError, match="frame 1: the mask"):
        write_sequence(tmp_path, frames, [], {})


def test_damage_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SequenceFileError, match="not a sequence"):
        list(load_sequence(tmp_path / "nowhere"))
    record = json.loads((folder / "sequence.json").read_text())
    (folder / "sequence.json").write_text(json.dumps({**record, "version": 9}))
    with pytest.raises(SequenceFileError, match="version 1, got 9"):
        list(load_sequence(folder))
    (folder / "sequence.json").write_text(json.dumps(record))
    packed = folder / "planes.zst"
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(SequenceFileError, match="not a sequence"):
        list(load_sequence(folder))
