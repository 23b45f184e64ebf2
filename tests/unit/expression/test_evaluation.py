"""`evaluate` and `conditions` on drawn faces with the shipped network: what they print is whole and adds up."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.engine import EngineConfig
from models.expression import EXPRESSIONS
from training.expression.conditions import CONDITIONS, measure_conditions
from training.expression.data import read_faces
from training.expression.evaluate import evaluate

CONFIG = EngineConfig(compiler="openvino", precision="f32", threads=1)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for name in EXPRESSIONS:
        (tmp_path / "faces" / name).mkdir(parents=True)
        for number in range(3):
            image = cv2.GaussianBlur(generator.integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 3)
            cv2.imwrite(str(tmp_path / "faces" / name / f"{number}.png"), cv2.normalize(image, None, 0, 255, 32))
    return tmp_path / "faces"


def test_a_folder_a_class_is_judged(folders: Path) -> None:
    found = evaluate(read_faces(folders), CONFIG)
    assert found["n"] == 21
    assert {"accuracy", "balanced_accuracy", "ece"} <= set(found)
    recalls = [found[f"recall_{name}"] for name in EXPRESSIONS]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls), abs=0.01)
    assert found["accuracy"] == pytest.approx(found["balanced_accuracy"], abs=0.01)  # as many of each
    assert not any(name.startswith("ferplus") for name in found)  # nobody voted


def test_conditions_have_a_row_each_and_untouched_ones_agree(folders: Path, tmp_path: Path) -> None:
    found = measure_conditions(read_faces(folders), CONFIG, tmp_path / "out")
    rows = found["conditions"]
    assert len(rows) == sum(len(levels) for _, levels in CONDITIONS.values())
    plain = {row["accuracy"] for row in rows if (row["condition"], row["level"]) in PLAIN}
    assert plain == {found["accuracy_at_coverage"][100]}
    with (tmp_path / "out" / "conditions.csv").open(newline="") as file:
        assert [row["condition"] for row in csv.DictReader(file)] == [row["condition"] for row in rows]
    assert cv2.imread(str(tmp_path / "out" / "conditions.png")).shape[1] > 1000


PLAIN = {("resolution, px", 48), ("blur, sigma px", 0), ("rotation, degrees", 0)}
