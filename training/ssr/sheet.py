"""A sheet of pictures: each method's frame, zoomed insets, and how far each pixel is from the reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.ssr.postprocess import encode_srgb, to_bgr8

__all__ = ["write_sheet"]

COLUMN = 360
ZOOM_SHARE = 5
"""An inset is a fifth of the picture each way."""
INSETS = 2
LOUD = 4
"""Errors are shown so many times stronger."""
CAPTION = 26
JPEG_QUALITY = 90
INK, PAPER = (40, 40, 40), (245, 245, 245)

Picture = NDArray[np.float32]


def write_sheet(
    file: Path, noisy: Picture, results: Mapping[str, Picture], reference: Picture, *, errors: bool = True
) -> None:
    """Write a PNG or JPEG; all pictures are linear [H, W, 3] of one size and exposure, `noisy` 0 where not traced."""
    shown = {"input, 1/4 spp": noisy, **results, "reference": reference}
    boxes = _places(reference)
    columns = []
    for name, picture in shown.items():
        column = [_caption(name), _marked(_wide(to_bgr8(picture)), boxes, picture.shape[1])]
        column += [_wide(to_bgr8(picture[box])) for box in boxes]
        if errors and name in results:
            column.append(_wide(_error_map(picture, reference)))
        elif errors:
            column.append(_note(column[1].shape[0], f"difference from the reference, times {LOUD}"))
        columns.append(np.vstack(column))
    file.parent.mkdir(parents=True, exist_ok=True)
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if file.suffix == ".jpg" else []
    cv2.imwrite(str(file), np.hstack(columns), settings)


def _places(reference: Picture) -> list[tuple[slice, slice]]:
    """Where the reference has most detail, apart from each other."""
    height, width = reference.shape[:2]
    rows, columns = height // ZOOM_SHARE, width // ZOOM_SHARE
    grey = cv2.cvtColor(encode_srgb(reference), cv2.COLOR_RGB2GRAY)
    size = (columns, rows)
    spread = cv2.boxFilter(grey**2, -1, size, anchor=(0, 0)) - cv2.boxFilter(grey, -1, size, anchor=(0, 0)) ** 2
    spread = spread[: height - rows, : width - columns].copy()
    places = []
    for _ in range(INSETS):
        top, left = np.unravel_index(int(spread.argmax()), spread.shape)
        places.append((slice(int(top), int(top) + rows), slice(int(left), int(left) + columns)))
        spread[max(0, top - 2 * rows) : top + 2 * rows, max(0, left - 2 * columns) : left + 2 * columns] = -1
    return places


def _wide(picture: NDArray[np.uint8]) -> NDArray[Any]:
    height, width = picture.shape[:2]
    smaller = width > COLUMN
    size = (COLUMN, max(1, round(height * COLUMN / width)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_NEAREST))


def _marked(picture: NDArray[Any], boxes: list[tuple[slice, slice]], width: int) -> NDArray[Any]:
    share = COLUMN / width
    for rows, columns in boxes:
        corners = [
            (int(x * share), int(y * share)) for x, y in ((columns.start, rows.start), (columns.stop, rows.stop))
        ]
        cv2.rectangle(picture, *corners, (0, 220, 255), 1)
    return picture


def _error_map(picture: Picture, reference: Picture) -> NDArray[np.uint8]:
    error = np.abs(encode_srgb(picture) - encode_srgb(reference)).mean(-1)
    steps = np.clip(error * LOUD * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(steps, cv2.COLORMAP_INFERNO), np.uint8)


def _caption(text: str) -> NDArray[np.uint8]:
    strip = np.full((CAPTION, COLUMN, 3), PAPER, np.uint8)
    cv2.putText(strip, text, (8, CAPTION - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.55, INK, 1, cv2.LINE_AA)
    return strip


def _note(height: int, text: str) -> NDArray[np.uint8]:
    field = np.full((height, COLUMN, 3), PAPER, np.uint8)
    cv2.putText(field, text, (8, height // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.55, INK, 1, cv2.LINE_AA)
    return field
