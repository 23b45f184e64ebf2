"""From a picture to one person's embedding: what enrolment and search by picture share, outside the stream loop."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.errors import ActorError
from actors.quality import LEAST_WH, crop_quality, too_small
from models.detection.spec import PERSON
from models.engine.config import EngineConfig
from models.reid.spec import REID_NANO
from models.sites import serving_spec
from models.spec import ModelSpec

if TYPE_CHECKING:
    from actors.config import AppConfig
    from models.detection import Detector
    from models.reid.embedder import Embedder

__all__ = [
    "CropTooSmallError",
    "EmbeddedPerson",
    "NoPersonError",
    "PersonEmbedder",
    "PictureError",
    "decode_picture",
    "parse_box",
]

MAX_PIXELS = 64_000_000


Box = tuple[float, float, float, float]


class PictureError(ActorError, ValueError):
    """A picture cannot be decoded, or is larger than 64 million pixels."""


class CropTooSmallError(ActorError, ValueError):
    """So few pixels show nobody who could be recognized."""


class NoPersonError(ActorError, ValueError):
    """The detector found nobody in the picture."""


@dataclass(frozen=True, slots=True)
class EmbeddedPerson:
    """One person of a picture: where, how sure the detector was (None where the caller gave the place), and the vector.

    `embedding` is float32 [D] of unit norm; `people` is how many the detector found; `quality`, 0 to 1, how good the
    crop is to be recognized by (`actors/quality.py`).
    """

    box_xyxy: Box
    embedding: NDArray[np.float32]
    score: float | None
    people: int | None
    quality: float = 1.0


def decode_picture(data: bytes, name: str = "picture") -> NDArray[np.uint8]:
    """uint8 [H, W, 3] BGR of a JPEG, PNG, WebP, BMP or TIFF, turned upright by its EXIF. Raises: PictureError."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise PictureError(
            f"{name}: expected a picture of a sane size, got one that OpenCV refuses: {error}"
        ) from error
    if image is None:
        raise PictureError(
            f"{name}: expected a JPEG, PNG, WebP, BMP or TIFF picture, got {len(data):,} bytes that are none; "
            "give the file itself, whole"
        )
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise PictureError(f"{name}: expected at most {MAX_PIXELS:,} pixels, got {image.shape[1]}x{image.shape[0]}")
    return np.asarray(image, np.uint8)


def parse_box(text: str) -> Box:
    """`x1,y1,x2,y2` in pixels. Raises: PictureError."""
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        left = top = right = bottom = float("nan")
    if not (left < right and top < bottom):
        raise PictureError(f"box: expected x1,y1,x2,y2 in pixels with x1 < x2 and y1 < y2, got {text!r}")
    return left, top, right, bottom


class PersonEmbedder:
    """Finds the largest person of a picture and embeds it. Its engines are loaded at the first use; thread-safe."""

    def __init__(
        self, engine: EngineConfig, *, detector_threshold: float = 0.25, network: ModelSpec = REID_NANO
    ) -> None:
        self._engine = engine
        self._network = network
        self._threshold = detector_threshold
        self._lock = threading.Lock()
        self._detector: Detector | None = None
        self._embedder: Embedder | None = None

    @classmethod
    def of(cls, config: AppConfig) -> Self:
        """By the networks and thresholds of the settings. Raises: the errors of `models.sites.serving_spec`."""
        threshold, network = config.perception.detector_threshold, serving_spec(config.reid)
        return cls(config.engine, detector_threshold=threshold, network=network)

    @property
    def epoch(self) -> str:
        """The model epoch of the embeddings, which a gallery keeps."""
        return self._network.stem

    @property
    def dimension(self) -> int:
        """The length of an embedding."""
        return int(self._network.outputs[0].length or 0)

    def embed(
        self,
        image_bgr: NDArray[np.uint8],
        *,
        box_xyxy: Box | None = None,
        whole: bool = False,
    ) -> EmbeddedPerson:
        """Embed the person in the box, the whole picture (a crop of one person), or the largest person found.

        Shapes: image uint8 [H, W, 3] BGR; box in its pixels.
        Raises: NoPersonError, CropTooSmallError, EmptyBoxError, and the errors of loading an engine.
        """
        height, width = image_bgr.shape[:2]
        score: float | None = None
        people: int | None = None
        with self._lock:
            if box_xyxy is None and whole:
                box_xyxy = (0.0, 0.0, float(width), float(height))
            elif box_xyxy is None:
                box_xyxy, score, people = self._largest(image_bgr)
            left, top, right, bottom = (float(edge) for edge in box_xyxy)
            if min(right, width) > max(left, 0) and min(bottom, height) > max(top, 0):  # else there is nothing of it
                _check_size((left, top, right, bottom), (width, height))
            boxes = np.asarray([box_xyxy], np.float32)
            embedding = self._loaded_embedder().embed([image_bgr], [boxes])[0]
        quality = crop_quality(image_bgr, (left, top, right, bottom), whole=whole)
        return EmbeddedPerson((left, top, right, bottom), embedding, score, people, quality)

    def _largest(self, image_bgr: NDArray[np.uint8]) -> tuple[Box, float, int]:
        found: Any = self._loaded_detector().detect([image_bgr])[0]
        of_people = found.classes == PERSON
        boxes, scores = found.boxes_xyxy[of_people], found.scores[of_people]
        if not len(boxes):
            raise NoPersonError(
                f"picture: expected a person, found none in {image_bgr.shape[1]}x{image_bgr.shape[0]} pixels at a "
                f"score of {self._threshold:g} or more; say where by a box (--box x1,y1,x2,y2), or that the whole "
                "picture is the person (--crop)"
            )
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        best = int(np.argmax(areas))
        left, top, right, bottom = (float(edge) for edge in boxes[best])
        return (left, top, right, bottom), float(scores[best]), len(boxes)

    def _loaded_embedder(self) -> Embedder:
        if self._embedder is None:
            from models.engine import load_engine
            from models.reid.embedder import Embedder

            self._embedder = Embedder(load_engine(self._network, self._engine, from_uint8=True), self._network)
        return self._embedder

    def _loaded_detector(self) -> Detector:
        if self._detector is None:
            from models.detection import DETECTION_NANO, Detector
            from models.engine import load_engine

            self._detector = Detector(
                load_engine(DETECTION_NANO, self._engine, from_uint8=True), threshold=self._threshold
            )
        return self._detector


def _check_size(box: Box, size_wh: tuple[int, int]) -> None:
    if too_small(box, size_wh):
        width, height = min(box[2], size_wh[0]) - max(box[0], 0), min(box[3], size_wh[1]) - max(box[1], 0)
        raise CropTooSmallError(
            f"picture: expected a person of {LEAST_WH[0]}x{LEAST_WH[1]} pixels or more, got {width:g}x{height:g}; "
            "give a larger picture of that person"
        )
