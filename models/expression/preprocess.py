"""Faces out of frames, framed as FER2013's are, and what makes one unreadable.

The template is the median of YuNet's five landmarks on 5,382 of the first 6,000 training faces of FER2013, made
symmetric; the similarity is the least-squares one (Umeyama, TPAMI 1991), solved in complex numbers.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import InputShapeError
from models.expression.spec import EXPRESSION_NANO
from models.spec import ModelSpec

__all__ = ["align_face", "check_frame", "flaw_of_box", "flaw_of_face", "flaw_of_place", "normalize_faces"]

TEMPLATE_XY = np.array(((15.3, 18.9), (32.7, 18.9), (24.0, 28.4), (16.7, 35.8), (31.3, 35.8)))
TEMPLATE_SIDE = 48.0
BOX_TO_SIDE = 1.12
"""A box as YuNet draws it (forehead to chin) is 37.6x48.9 of FER2013's 48: the side is 1.12 * sqrt(width * height)."""
GREY = 127

SMALLEST_PX = 16.0
LEAST_INSIDE = 0.6
NARROWEST, WIDEST = 0.6, 1.2
"""Width over height of all but 5 and 1 % of labelled faces; beyond it, at the frame's edge, is the rest of a face."""
EDGE_PX = 1.0
GRID = 8
LEAST_CONTRAST = 8.0
LEAST_SHARPNESS = 0.006
"""Variance of the Laplacian over that of the face: FER2013 has 0.75 (median), at 8 pixels across 0.008, at 6 0.005."""


def check_frame(frame_bgr: NDArray[Any], index: int = 0) -> None:
    """Raises: InputShapeError unless it is uint8 [H, W, 3]; `index` only names it."""
    if frame_bgr.dtype != np.uint8 or frame_bgr.ndim != 3 or frame_bgr.shape[2] != 3:
        raise InputShapeError(f"frame {index}: expected uint8 [H, W, 3] BGR, got {frame_bgr.dtype} {frame_bgr.shape}")


def align_face(
    frame_bgr: NDArray[np.uint8],
    box_xyxy: NDArray[np.float32],
    landmarks_xy: NDArray[np.float32] | None,
    spec: ModelSpec = EXPRESSION_NANO,
) -> NDArray[np.uint8]:
    """One face, grey, turned upright and scaled onto the template by its landmarks; by its box where it has none.

    Shapes: frame [H, W, 3] BGR 0-255; box [4] pixels, with an area; landmarks [5, 2] pixels (eye on the left of the
    picture, the other, nose, mouth corner on the left, the other) or None, or with NaN -> uint8 [48, 48]. Outside the
    frame it is grey.
    """
    side = spec.input.size_wh[0]
    turn, shift = _similarity(box_xyxy, landmarks_xy)  # template = turn * frame + shift
    turn, shift = turn * side / TEMPLATE_SIDE, shift * side / TEMPLATE_SIDE
    corners = (np.array((0, side, side * 1j, side * (1 + 1j))) - shift) / turn
    # Only the square's surroundings are turned grey and shrunk: the whole frame would cost more than the network.
    x0, y0 = max(0, int(corners.real.min()) - 2), max(0, int(corners.imag.min()) - 2)
    x1 = min(frame_bgr.shape[1], int(corners.real.max()) + 3)
    y1 = min(frame_bgr.shape[0], int(corners.imag.max()) + 3)
    if x1 <= x0 or y1 <= y0:
        return np.full((side, side), GREY, np.uint8)
    grey = cv2.cvtColor(frame_bgr[y0:y1, x0:x1], cv2.COLOR_BGR2GRAY)
    shrink = max(1, int(1 / abs(turn)))
    wanted_wh = (max(1, grey.shape[1] // shrink), max(1, grey.shape[0] // shrink))
    step_x, step_y = grey.shape[1] / wanted_wh[0], grey.shape[0] / wanted_wh[1]
    if shrink > 1:  # an average first, or fine texture turns to noise
        grey = cv2.resize(grey, wanted_wh, interpolation=cv2.INTER_AREA)
    # From pixel centres of the shrunk part to pixel centres of the face.
    start = turn * complex(x0 + 0.5 * step_x, y0 + 0.5 * step_y) + shift - (0.5 + 0.5j)
    matrix = np.array(
        (
            (turn.real * step_x, -turn.imag * step_y, start.real),
            (turn.imag * step_x, turn.real * step_y, start.imag),
        )
    )
    face = cv2.warpAffine(grey, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=(GREY,))
    return np.asarray(face, np.uint8)


def flaw_of_box(size_wh: tuple[int, int], box_xyxy: NDArray[np.float32]) -> str | None:
    """Why a box in a frame of this size cannot be read: empty, too small, out of frame; None if it can."""
    if not np.isfinite(box_xyxy).all():
        return "empty box"
    left, top, right, bottom = (float(value) for value in box_xyxy)
    width, height = right - left, bottom - top
    if width <= 0 or height <= 0:
        return "empty box"
    if min(width, height) < SMALLEST_PX:
        return "too small"
    inside_w, inside_h = min(right, size_wh[0]) - max(left, 0), min(bottom, size_wh[1]) - max(top, 0)
    if max(inside_w, 0) * max(inside_h, 0) < LEAST_INSIDE * width * height:
        return "out of frame"
    cut_aside = left < EDGE_PX or right > size_wh[0] - EDGE_PX
    cut_above_or_below = top < EDGE_PX or bottom > size_wh[1] - EDGE_PX
    if (cut_aside and width < NARROWEST * height) or (cut_above_or_below and width > WIDEST * height):
        return "out of frame"
    return None


def flaw_of_place(
    size_wh: tuple[int, int], box_xyxy: NDArray[np.float32], landmarks_xy: NDArray[np.float32] | None
) -> str | None:
    """ "out of frame" where less than LEAST_INSIDE of the aligned square is picture; None if enough is.

    A detector's boxes end at the frame's edge, so the landmarks tell that half of the face is beyond it.
    """
    turn, shift = _similarity(box_xyxy, landmarks_xy)
    steps = (np.arange(GRID) + 0.5) * TEMPLATE_SIDE / GRID
    points = ((steps[None] + 1j * steps[:, None]) - shift) / turn
    inside = (points.real >= 0) & (points.real <= size_wh[0]) & (points.imag >= 0) & (points.imag <= size_wh[1])
    return "out of frame" if inside.mean() < LEAST_INSIDE else None


def flaw_of_face(face: NDArray[np.uint8]) -> str | None:
    """Why an aligned face uint8 [48, 48] cannot be read: no contrast, too blurred; None if it can."""
    values = face.astype(np.float32)
    variance = float(values.var())
    if variance < LEAST_CONTRAST**2:
        return "no contrast"
    if float(cv2.Laplacian(values, cv2.CV_32F).var()) < LEAST_SHARPNESS * variance:
        return "too blurred"
    return None


def normalize_faces(faces: NDArray[np.uint8], spec: ModelSpec = EXPRESSION_NANO) -> NDArray[np.float32]:
    """What the network's own input is: uint8 [N, 48, 48] to float32 [N, 1, 48, 48] by the spec's mean and std."""
    if spec.normalize is None:
        raise InputShapeError(f"{spec.name}: its spec has no `normalize`; load the engine with from_uint8=True")
    scaled = faces.astype(np.float32) * np.float32(spec.normalize.scale)
    mean, std = np.float32(spec.normalize.mean[0]), np.float32(spec.normalize.std[0])
    return np.ascontiguousarray(((scaled - mean) / std)[:, None])


def _similarity(box_xyxy: NDArray[np.float32], landmarks_xy: NDArray[np.float32] | None) -> tuple[complex, complex]:
    """Turn with scale, and shift, in the plane of complex numbers: template = turn * frame + shift."""
    if landmarks_xy is not None and np.isfinite(landmarks_xy).all():
        found = landmarks_xy[:, 0].astype(np.float64) + 1j * landmarks_xy[:, 1]
        wanted = TEMPLATE_XY[:, 0] + 1j * TEMPLATE_XY[:, 1]
        centred = found - found.mean()
        spread = float((np.abs(centred) ** 2).sum())
        extent = max(float(box_xyxy[2] - box_xyxy[0]), float(box_xyxy[3] - box_xyxy[1]))
        turn = complex((centred.conj() * (wanted - wanted.mean())).sum() / spread) if spread > 0 else 0j
        # Landmarks of a wrong or folded face would zoom into a cheek: the box is the better guess then.
        if 0.5 < abs(turn) * extent / TEMPLATE_SIDE < 2.5:
            return turn, complex(wanted.mean()) - turn * complex(found.mean())
    left, top, right, bottom = (float(value) for value in box_xyxy)
    scale = TEMPLATE_SIDE / (BOX_TO_SIDE * ((right - left) * (bottom - top)) ** 0.5)
    middle = complex((left + right) / 2, (top + bottom) / 2)
    return complex(scale), complex(TEMPLATE_SIDE / 2, TEMPLATE_SIDE / 2) - scale * middle
