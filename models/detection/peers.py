"""Public detectors that ours is measured against, and that teach it: YOLOX-nano, FastestDet, YuNet.

Their files come from a mirror folder (`FOVEAL_MODEL_MIRROR`); none of them ships. Sources of the decoding:
Megvii-BaseDetection/YOLOX (Apache-2.0), dog-qiuqiu/FastestDet (BSD-3), libfacedetection's YuNet through OpenCV (BSD-3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from models.detection import FACE, PERSON, Detections
from models.engine.openvino import shared_core
from models.errors import SpecError, WeightsMissingError

__all__ = ["PEERS", "PEER_FILES", "FastestDet", "Peer", "PeerEntry", "YoloxNano", "YuNet", "find_as_ours", "find_with"]

LEAST_SCORE = 0.02
PAD = 114


class Peer(Protocol):
    """image uint8 [H, W, 3] BGR -> float32 [N, 5 or 15]: x1, y1, x2, y2 in its pixels, score, five landmarks (x, y)."""

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]: ...


class YoloxNano:
    """People by YOLOX-nano (Ge et al., 2021) at 416, scores from 0.02."""

    SIDE = 416

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._run = _compiled(path, threads)
        grids, strides = [], []
        for stride in (8, 16, 32):
            side = self.SIDE // stride
            grids.append(np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2))
            strides.append(np.full((side * side, 1), stride))
        self._grid, self._stride = np.concatenate(grids), np.concatenate(strides)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        ratio = self.SIDE / max(image.shape[:2])
        canvas = np.full((self.SIDE, self.SIDE, 3), PAD, np.uint8)
        resized = cv2.resize(image, None, fx=ratio, fy=ratio)[: self.SIDE, : self.SIDE]
        canvas[: resized.shape[0], : resized.shape[1]] = resized
        out = self._run(canvas.transpose(2, 0, 1)[None].astype(np.float32))[0]
        scores = out[:, 4] * out[:, 5]
        keep = scores > LEAST_SCORE
        centre = (out[keep, :2] + self._grid[keep]) * self._stride[keep]
        half = np.exp(out[keep, 2:4]) * self._stride[keep] / 2
        return _suppressed(np.concatenate((centre - half, centre + half), 1) / ratio, scores[keep], 0.6)


class FastestDet:
    """People by FastestDet (one scale of stride 16, squeezed to 352 x 352), scores from 0.02."""

    SIDE = 352

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._run = _compiled(path, threads)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        resized = cv2.resize(image, (self.SIDE, self.SIDE))
        out = self._run(resized.transpose(2, 0, 1)[None].astype(np.float32) / 255)[0]
        rows, columns = np.indices(out.shape[1:])
        # Its own score: objectness and class probability, weighted 0.6 and 0.4 in the exponent.
        scores = np.maximum(out[0], 0) ** 0.6 * np.maximum(out[5], 0) ** 0.4
        keep = (scores > LEAST_SCORE) & (out[5:].argmax(0) == 0)
        x = (np.tanh(out[1]) + columns)[keep] / out.shape[2]
        y = (np.tanh(out[2]) + rows)[keep] / out.shape[1]
        width, height = (1 / (1 + np.exp(-out[index][keep])) for index in (3, 4))
        boxes = np.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2), 1)
        return _suppressed(boxes * np.tile(image.shape[1::-1], 2), scores[keep], 0.45)


class YuNet:
    """Faces with landmarks by YuNet (Wu et al., 2023), the longer side scaled to `long_side`; scores from 0.02."""

    def __init__(self, path: Path, long_side: int = 640) -> None:
        self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), LEAST_SCORE, 0.45)
        self._long_side = long_side

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        scale = self._long_side / max(image.shape[:2])
        resized = cv2.resize(image, None, fx=scale, fy=scale)
        self._net.setInputSize((resized.shape[1], resized.shape[0]))
        found = self._net.detect(resized)[1]
        if found is None:
            return np.zeros((0, 15), np.float32)
        boxes = np.concatenate((found[:, :2], found[:, :2] + found[:, 2:4]), 1) / scale
        return np.concatenate((boxes, found[:, 14:15], found[:, 4:14] / scale), 1).astype(np.float32)


@dataclass(frozen=True)
class PeerEntry:
    """How a peer is called, its file in the mirror, what it finds, and how it is opened."""

    file: str
    kind: int
    open: Callable[[Path], Peer]


PEERS = {
    "yolox_nano": PeerEntry("yolox_nano.onnx", PERSON, YoloxNano),
    "fastestdet": PeerEntry("fastestdet.onnx", PERSON, FastestDet),
    "yunet": PeerEntry("yunet_n_dynamic.onnx", FACE, YuNet),
    "yunet_320": PeerEntry("yunet_n_dynamic.onnx", FACE, lambda path: YuNet(path, 320)),
}

PEER_FILES = sorted({entry.file for entry in PEERS.values()})


def find_with(name: str, mirror: Path) -> Callable[[NDArray[np.uint8]], Detections]:
    """A peer behind the form of our own answers. Raises: WeightsMissingError if the mirror has no such file."""
    path = mirror / PEERS[name].file
    if not path.is_file():
        raise WeightsMissingError(path, "name the folder that has the peers' files in FOVEAL_MODEL_MIRROR")
    return _as_ours(PEERS[name], path)


def find_as_ours(path: Path) -> Callable[[NDArray[np.uint8]], Detections]:
    """The same by the peer's file. Raises: SpecError where it is no detector's."""
    entry = next((one for one in PEERS.values() if one.file == path.name), None)
    if entry is None:
        raise SpecError(f"{path.name}: expected the file of a public detector, which are {', '.join(PEER_FILES)}")
    return _as_ours(entry, path)


def _as_ours(entry: PeerEntry, path: Path) -> Callable[[NDArray[np.uint8]], Detections]:
    peer = entry.open(path)

    def find(image: NDArray[np.uint8]) -> Detections:
        rows = peer(image)
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        marks = np.full((len(rows), 5, 2), np.nan, np.float32)
        if rows.shape[1] > 5:
            marks = rows[:, 5:15].reshape(-1, 5, 2)
        return Detections(rows[:, :4], rows[:, 4], np.full(len(rows), entry.kind, np.int64), marks)

    return find


def _compiled(path: Path, threads: int) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    model = shared_core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": threads})
    return lambda inputs: np.asarray(model(inputs)[0])


def _suppressed(boxes: NDArray[Any], scores: NDArray[Any], overlap: float) -> NDArray[np.float32]:
    wh = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1)
    kept = cv2.dnn.NMSBoxes(wh.tolist(), scores.tolist(), LEAST_SCORE, overlap)
    index = np.asarray(kept, np.int64).reshape(-1)
    return np.concatenate((boxes[index], scores[index, None]), 1).astype(np.float32)
