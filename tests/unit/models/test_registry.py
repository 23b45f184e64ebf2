"""Compiled engines are kept, found again, and never loaded on a mismatch."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.engine import EngineConfig, EngineRegistry, ShapeProfile, load_engine
from models.engine.registry import EngineKey
from models.errors import RegistryError

KEY = EngineKey("net-1", "a" * 64, "openvino", "1.0", "some processor", "f32", {"x": [[1, 1, 1]]})


def refuse() -> bytes:
    raise AssertionError("built again")


@pytest.fixture
def registry(tmp_path: Path) -> EngineRegistry:
    return EngineRegistry(tmp_path / "engines")


def test_an_engine_is_built_once(registry: EngineRegistry) -> None:
    assert registry.get_or_build(KEY, lambda: b"engine") == b"engine"
    assert registry.get_or_build(KEY, refuse) == b"engine"
    assert [entry.fields["model"] for entry in registry.entries()] == ["net-1"]


@pytest.mark.parametrize(
    "change",
    [
        {"onnx_sha256": "b" * 64},
        {"compiler": "tensorrt"},
        {"compiler_version": "1.1"},
        {"device": "another processor"},
        {"precision": "bf16"},
        {"profile": {"x": [[1, 2, 4]]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_anything_else_in_the_key_is_another_engine(registry: EngineRegistry, change: dict[str, Any]) -> None:
    registry.get_or_build(KEY, lambda: b"one")
    assert registry.get_or_build(replace(KEY, **change), lambda: b"two") == b"two"
    assert registry.get_or_build(KEY, refuse) == b"one"


def damage_blob(folder: Path) -> None:
    next(folder.glob("*.engine")).write_bytes(b"engimE")


def cut_blob(folder: Path) -> None:
    next(folder.glob("*.engine")).write_bytes(b"")


def damage_record(folder: Path) -> None:
    next(folder.glob("*.json")).write_text("{")


def lie_in_record(folder: Path) -> None:
    path = next(folder.glob("*.json"))
    record = json.loads(path.read_text())
    record["key"]["compiler_version"] = "0.9"
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("harm", [damage_blob, cut_blob, damage_record, lie_in_record])
def test_a_damaged_engine_is_built_again_and_the_log_says_so(
    registry: EngineRegistry, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    registry.get_or_build(KEY, lambda: b"engine")
    harm(registry.folder)
    with caplog.at_level(logging.WARNING, "foveal.models.engine"):
        assert registry.get_or_build(KEY, lambda: b"again") == b"again"
    assert "building it again" in caplog.text
    assert registry.get_or_build(KEY, refuse) == b"again"


def test_a_build_that_fails_leaves_nothing(registry: EngineRegistry) -> None:
    def fail() -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        registry.get_or_build(KEY, fail)
    assert registry.entries() == []
    assert registry.get_or_build(KEY, lambda: b"engine") == b"engine"


def test_the_longest_unused_leave_first(tmp_path: Path) -> None:
    registry = EngineRegistry(tmp_path, max_bytes=250)
    keys = [replace(KEY, device=f"processor {index}") for index in range(3)]
    for age, key in enumerate(keys[:2]):
        registry.get_or_build(key, lambda: b"x" * 100)
        os.utime(tmp_path / f"{key.stem}.engine", (1000 + age, 1000 + age))
    registry.get_or_build(keys[0], refuse)  # used: now the youngest
    registry.get_or_build(keys[2], lambda: b"x" * 100)
    assert {entry.fields["device"] for entry in registry.entries()} == {"processor 0", "processor 2"}
    assert registry.prune(0) != []
    assert registry.entries() == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RegistryError, match=r"engine.cache_dir: cannot create .*file"):
        EngineRegistry(tmp_path / "file" / "engines")


BUILD_SLOWLY = """
import os, sys, time
from pathlib import Path
from models.engine import EngineRegistry
from models.engine.registry import EngineKey

def build():
    Path(sys.argv[2], str(os.getpid())).touch()
    time.sleep(0.3)
    return b"engine"

key = EngineKey("net-1", "a" * 64, "openvino", "1.0", "some processor", "f32", {"x": [[1, 1, 1]]})
sys.exit(EngineRegistry(Path(sys.argv[1])).get_or_build(key, build) != b"engine")
"""


def test_of_several_processes_one_builds(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    command = [sys.executable, "-c", BUILD_SLOWLY, str(tmp_path / "engines"), str(tmp_path / "marks")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_load_engine_uses_it(tiny: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = EngineConfig(compiler="openvino", precision="f32", threads=1, cache_dir=tmp_path / "engines")
    shapes = ShapeProfile.of(tiny.spec, batch=1, height=8, width=8)
    image = np.ones((1, 3, 8, 8), np.float32)
    with load_engine(tiny.spec, config, shapes) as engine:
        first = engine.run({"image": image})["vector"]
    registry = EngineRegistry(tmp_path / "engines")
    (entry,) = registry.entries()
    assert entry.fields["onnx_sha256"] == engine.info.onnx_sha256
    with load_engine(tiny.spec, config, shapes) as engine:
        np.testing.assert_array_equal(engine.run({"image": image})["vector"], first)
    assert len(registry.entries()) == 1
    # a blob that its compiler refuses though its digest is right
    key = EngineKey(**{name: value for name, value in entry.fields.items() if name != "format"})
    registry.get_or_build(key, lambda: b"not an engine", fresh=True)
    with caplog.at_level(logging.WARNING), load_engine(tiny.spec, config, shapes) as engine:
        np.testing.assert_array_equal(engine.run({"image": image})["vector"], first)
    assert "refuses the engine kept" in caplog.text
