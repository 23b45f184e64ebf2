"""From a picture to the crop of a person that a gallery may keep beside his vector."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from gallery.crops import keep_crops, open_keys
from gallery.schema import Enrolment
from gallery.store import GalleryStore

__all__ = ["check_crop_keys", "encode_crop", "keep_crop"]

MOST_HIGH = 512
"""Pixels: twice what any of the networks looks at."""
JPEG_QUALITY = 90

Box = tuple[float, float, float, float]


def encode_crop(image_bgr: NDArray[np.uint8], box_xyxy: Box) -> bytes | None:
    """The part of a picture uint8 [H, W, 3] in the box, as JPEG; None where nothing of it is inside."""
    height, width = image_bgr.shape[:2]
    left, top = max(0, int(box_xyxy[0])), max(0, int(box_xyxy[1]))
    right, bottom = min(width, int(np.ceil(box_xyxy[2]))), min(height, int(np.ceil(box_xyxy[3])))
    if right <= left or bottom <= top:
        return None
    part = image_bgr[top:bottom, left:right]
    if part.shape[0] > MOST_HIGH:
        ratio = MOST_HIGH / part.shape[0]
        size_wh = (max(1, round(part.shape[1] * ratio)), MOST_HIGH)
        part = np.asarray(cv2.resize(part, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    done, packed = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return packed.tobytes() if done else None


def check_crop_keys(store: GalleryStore, gallery: str) -> None:
    """Where the gallery keeps crops, they must be encrypted: better nothing is enrolled than half of it.

    Raises: CropKeyError, UnknownGalleryError.
    """
    if store.info(gallery).crops is not None:
        open_keys(store.config)


def keep_crop(
    store: GalleryStore, gallery: str, enrolment: Enrolment, image_bgr: NDArray[np.uint8], box_xyxy: Box
) -> int:
    """Keep the crop that was enrolled, where the gallery's policy asks for it; returns how many are kept, 0 or 1."""
    if enrolment.replayed or not enrolment.vector_numbers or store.info(gallery).crops is None:
        return 0
    crop = encode_crop(image_bgr, box_xyxy)
    if crop is None:
        return 0
    return keep_crops(store, gallery, enrolment.identity_id, {enrolment.vector_numbers[0]: crop})
