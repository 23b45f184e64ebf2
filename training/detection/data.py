"""The detection data in memory: decoded images, boxes with landmarks, what is not to be judged, and augmentation.

Each photograph labels one of the two classes. The other class comes from the peers' labels (`teach.py`): sure ones
count as labels, unsure ones as neither.
"""

from __future__ import annotations

import csv
import tarfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Sample", "augment", "load_samples", "normalize_batch"]

MEAN, STD = np.float32(114.0), np.float32(58.0)
MIRRORED = (1, 0, 2, 4, 3)
PERSON, FACE = 0, 1
MIN_SIDE_PX = 4.0


@dataclass
class Sample:
    """A picture uint8 [H, W, 3] BGR with its objects.

    boxes f32 [N, 4]; classes int64 [N]; landmarks f32 [N, 5, 2], NaN unknown; judged bool [N]:
    a box that is not judged is neither a person (or face) nor background.
    """

    name: str
    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    landmarks: NDArray[np.float32]
    judged: NDArray[np.bool_]


def load_samples(csv_path: Path, kind: int) -> list[Sample]:
    """Every picture of the tar beside the CSV, in the order of names; a picture with no row has no object."""
    rows: dict[str, list[list[str]]] = defaultdict(list)
    with csv_path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        next(reader)
        for row in reader:
            rows[row[0]].append(row[1:])
    samples = []
    with tarfile.open(csv_path.with_suffix(".tar")) as tar:
        for member in sorted(tar.getmembers(), key=lambda one: one.name):
            source = tar.extractfile(member)
            if source is None:
                continue
            image = cv2.imdecode(np.frombuffer(source.read(), np.uint8), cv2.IMREAD_COLOR)
            mine = rows.get(Path(member.name).name, [])
            values = [[float(value) if value else np.nan for value in row] for row in mine]
            boxes = np.array([row[:4] for row in values], np.float32).reshape(-1, 4)
            marks = np.full((len(values), 5, 2), np.nan, np.float32)
            if kind == FACE and values:
                marks = np.array([row[4:14] for row in values], np.float32).reshape(-1, 5, 2)
            judged = np.array([row[-1] == 0 for row in values], bool)
            samples.append(Sample(Path(member.name).name, image, boxes, np.full(len(values), kind), marks, judged))
    return samples


def augment(samples: list[Sample], index: int, size: int, rng: np.random.Generator, *, mosaic: float) -> Sample:
    """One training picture of `size` x `size`: a mosaic of four or one, scaled, mirrored, coloured, blurred, packed."""
    if rng.random() < mosaic:
        picture = _mosaic([samples[index], *(samples[rng.integers(len(samples))] for _ in range(3))], size, rng)
    else:
        picture = _placed(samples[index], size, rng)
    if rng.random() < 0.5:
        picture = _mirrored(picture)
    picture.image = _degraded(picture.image, rng)
    return picture


def normalize_batch(images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """uint8 BGR pictures of one size -> float32 [N, 3, H, W] as the network takes them."""
    return np.ascontiguousarray(((np.stack(images).astype(np.float32) - MEAN) / STD).transpose(0, 3, 1, 2))


def _warp(sample: Sample, scale: float, shift: tuple[float, float], size: int) -> Sample:
    matrix = np.float32([[scale, 0, shift[0]], [0, scale, shift[1]]])
    interpolation = cv2.INTER_AREA if scale < 0.7 else cv2.INTER_LINEAR
    if scale < 0.7:  # warpAffine knows no area filter: shrink first
        small = cv2.resize(sample.image, None, fx=scale, fy=scale, interpolation=interpolation)
        fx, fy = small.shape[1] / sample.image.shape[1], small.shape[0] / sample.image.shape[0]
        image = cv2.warpAffine(
            small, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), (size, size), borderValue=(114,) * 3
        )
    else:
        fx = fy = scale
        image = cv2.warpAffine(sample.image, matrix, (size, size), flags=interpolation, borderValue=(114,) * 3)
    factor, offset = np.float32([fx, fy]), np.float32(shift)
    boxes = (sample.boxes.reshape(-1, 2, 2) * factor + offset).reshape(-1, 4)
    return Sample(sample.name, image, boxes, sample.classes, sample.landmarks * factor + offset, sample.judged)


def _clipped(sample: Sample, x1: float, y1: float, x2: float, y2: float) -> Sample:
    boxes = sample.boxes.copy()
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3), 1)
    boxes[:, 0::2] = boxes[:, 0::2].clip(x1, x2)
    boxes[:, 1::2] = boxes[:, 1::2].clip(y1, y2)
    sides = boxes[:, 2:] - boxes[:, :2]
    left = np.prod(np.maximum(sides, 0), 1) / area
    keep = (sides.min(1, initial=np.inf) > 1) & (left > 0.05)
    # What is cut to a stump, or tiny, is no example of anything.
    judged = sample.judged & (left > 0.3) & (sides.min(1, initial=np.inf) >= MIN_SIDE_PX)
    marks = sample.landmarks.copy()
    marks[left < 0.95] = np.nan
    return Sample(sample.name, sample.image, boxes[keep], sample.classes[keep], marks[keep], judged[keep])


def _placed(sample: Sample, size: int, rng: np.random.Generator) -> Sample:
    height, width = sample.image.shape[:2]
    scale = size / max(height, width) * float(np.exp(rng.uniform(np.log(0.6), np.log(1.7))))
    shift = (rng.uniform(*sorted((0, size - width * scale))), rng.uniform(*sorted((0, size - height * scale))))
    return _clipped(_warp(sample, scale, shift, size), 0, 0, size, size)


def _mosaic(four: list[Sample], size: int, rng: np.random.Generator) -> Sample:
    cx, cy = (int(size * rng.uniform(0.35, 0.65)) for _ in range(2))
    canvas = np.full((size, size, 3), 114, np.uint8)
    parts = []
    cells = ((0, 0, cx, cy), (cx, 0, size, cy), (0, cy, cx, size), (cx, cy, size, size))
    for sample, (x1, y1, x2, y2) in zip(four, cells, strict=True):
        height, width = sample.image.shape[:2]
        scale = max(x2 - x1, y2 - y1) / max(height, width) * float(np.exp(rng.uniform(np.log(0.7), np.log(1.8))))
        shift = (
            x1 + rng.uniform(*sorted((0, x2 - x1 - width * scale))),
            y1 + rng.uniform(*sorted((0, y2 - y1 - height * scale))),
        )
        part = _clipped(_warp(sample, scale, shift, size), x1, y1, x2, y2)
        canvas[y1:y2, x1:x2] = part.image[y1:y2, x1:x2]
        parts.append(part)
    return Sample(
        four[0].name,
        canvas,
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
        np.concatenate([part.judged for part in parts]),
    )


def _mirrored(sample: Sample) -> Sample:
    width = sample.image.shape[1]
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]
    marks = sample.landmarks[:, list(MIRRORED)].copy()
    marks[..., 0] = width - marks[..., 0]
    return Sample(sample.name, np.ascontiguousarray(sample.image[:, ::-1]), boxes, sample.classes, marks, sample.judged)


def _degraded(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    gain = rng.uniform(0.55, 1.35, 3) * 0.25 + rng.uniform(0.5, 1.4) * 0.75
    table = np.clip(
        (np.arange(256)[:, None] / 255) ** rng.uniform(0.7, 1.5) * 255 * gain + rng.uniform(-12, 12), 0, 255
    )
    image = cv2.LUT(image, table.astype(np.uint8)[None])
    if rng.random() < 0.1:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        image = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    if rng.random() < 0.15:
        length = int(rng.integers(2, 7))
        kernel = np.zeros((length, length), np.float32)
        (kernel[length // 2] if rng.random() < 0.5 else kernel[:, length // 2])[:] = 1 / length
        image = cv2.filter2D(image, -1, kernel)
    if rng.random() < 0.15:
        _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
        image = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    if rng.random() < 0.1:
        image = np.clip(image + rng.normal(0, rng.uniform(3, 14), image.shape), 0, 255).astype(np.uint8)
    return image
