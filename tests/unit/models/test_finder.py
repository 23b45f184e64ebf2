"""Which detector serves is a setting: one of ours, or public ones that somebody fetched."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from actors.config import PerceptionConfig
from models.detection import FACE, PERSON, Detections
from models.detection.finder import PublicDetectors, open_finder
from models.detection.spec import DETECTORS
from models.engine import EngineConfig
from models.errors import SpecError, UnknownModelError, WeightsMissingError

ENGINE = EngineConfig(compiler="openvino", threads=1)
PEERS = Path(os.environ.get("FOVEAL_MODEL_MIRROR", "../shared/data/peers"))


@pytest.mark.parametrize("name", DETECTORS)
def test_each_of_ours_opens_by_its_name(name: str) -> None:
    finder = open_finder(name, ENGINE, Path("nowhere"), threshold=0.25)
    assert finder.long_side == {"detector-nano": 416, "detector-small": 480}[name]
    assert len(finder.detect([np.full((120, 160, 3), 114, np.uint8)])) == 1


def test_the_setting_is_absolute_and_ours_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert PerceptionConfig().detector in DETECTORS
    assert PerceptionConfig(detector_folder=Path("here")).detector_folder == tmp_path / "here"


def test_a_name_that_nobody_has_and_a_file_that_was_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"yolo9.*foveal models list"):
        open_finder("yolo9", ENGINE, tmp_path, threshold=0.25)
    with pytest.raises(WeightsMissingError, match=r"yolox_nano\.onnx: not found; .*foveal models pull yolox_nano"):
        open_finder("yolox_nano+yunet_n_dynamic", ENGINE, tmp_path, threshold=0.25)


@pytest.mark.skipif(not (PEERS / "osnet_x0_25_msmt17.onnx").is_file(), reason=f"no public weights in {PEERS}")
def test_a_public_network_that_is_no_detector() -> None:
    with pytest.raises(SpecError, match="expected the file of a public detector"):
        open_finder("osnet_x0_25_msmt17", ENGINE, PEERS, threshold=0.25)


def test_what_public_ones_say_is_joined_and_in_pixels_of_the_frame() -> None:
    def found(score: float, kind: int, mark: float) -> Detections:
        boxes, marks = np.array([[10, 20, 30, 60]], np.float32), np.full((1, 5, 2), mark, np.float32)
        return Detections(boxes, np.full(1, score, np.float32), np.full(1, kind, np.int64), marks)

    finds = [lambda image: found(0.9, PERSON, np.nan), lambda image: found(0.4, FACE, 5.0)]
    image = np.zeros((90, 160, 3), np.uint8)
    [both] = PublicDetectors(finds, 0.3).detect([image], [(320, 180)])
    assert both.classes.tolist() == [PERSON, FACE]
    assert both.boxes_xyxy.tolist() == [[20, 40, 60, 120]] * 2
    assert both.landmarks_xy[1].tolist() == [[10, 10]] * 5
    assert [len(one) for one in PublicDetectors(finds, 0.5).detect([image, image])] == [1, 1]


@pytest.mark.skipif(not (PEERS / "yolox_nano.onnx").is_file(), reason=f"no public weights in {PEERS}")
def test_public_detectors_find_nobody_on_an_empty_picture() -> None:
    finder = open_finder("yolox_nano+yunet_n_dynamic", ENGINE, PEERS, threshold=0.25)
    assert [len(one) for one in finder.detect([np.full((240, 320, 3), 114, np.uint8)] * 2)] == [0, 0]
