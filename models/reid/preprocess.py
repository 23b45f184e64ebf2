"""People out of frames, as the embedder was trained to see them: padded to 1:2 with the mean colour, never squeezed.

Luo et al., CVPRW 2019, section 3.2 (padding); boxes are grown by 5 %, as Market-1501's leave a margin around a person.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import InputShapeError, ModelError
from models.reid.spec import REID_NANO
from models.spec import ModelSpec

__all__ = ["EmptyBoxError", "crop_people", "normalize_crops"]

MARGIN = 1.05


class EmptyBoxError(ModelError, ValueError):
    """A box has no area inside its frame. `frame` is the index of the frame, `index` that of the box in it."""

    def __init__(self, index: int, box_xyxy: NDArray[Any], size_wh: tuple[int, int], frame: int = 0) -> None:
        self.index = index
        self.frame = frame
        listed = ", ".join(f"{value:g}" for value in box_xyxy)
        super().__init__(
            f"box {index} of frame {frame}: ({listed}) has no area inside {size_wh[0]}x{size_wh[1]}; "
            "leave it out, or clip boxes to the frame before they are embedded"
        )


def crop_people(
    frame_bgr: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32], spec: ModelSpec = REID_NANO, frame: int = 0
) -> NDArray[np.uint8]:
    """Cut people out, with the scene around them where a box is not 1:2 and the mean colour outside the frame.

    Shapes: frame [H, W, 3] BGR 0-255; boxes [N, 4] pixels, may reach outside the frame -> uint8 [N, 128, 64, 3] BGR.
    Raises: EmptyBoxError if a box has no area inside the frame or is not finite (`frame` only names it);
    InputShapeError if an array has another shape or dtype.
    """
    if frame_bgr.dtype != np.uint8 or frame_bgr.ndim != 3 or frame_bgr.shape[2] != 3:
        raise InputShapeError(f"frame {frame}: expected uint8 [H, W, 3] BGR, got {frame_bgr.dtype} {frame_bgr.shape}")
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4:
        raise InputShapeError(f"boxes of frame {frame}: expected [N, 4], got {boxes_xyxy.shape}")
    width, height = spec.input.size_wh
    crops = np.empty((len(boxes_xyxy), height, width, 3), np.uint8)
    crops[:] = _mean_bgr(spec)
    for index, box in enumerate(boxes_xyxy):
        if not _paste(frame_bgr, box, crops[index]):
            raise EmptyBoxError(index, box, (frame_bgr.shape[1], frame_bgr.shape[0]), frame)
    return crops


def normalize_crops(crops_bgr: NDArray[np.uint8], spec: ModelSpec = REID_NANO) -> NDArray[np.float32]:
    """What the network itself takes: uint8 [N, H, W, 3] BGR to float32 [N, 3, H, W] RGB by the mean and std."""
    if spec.normalize is None:
        raise InputShapeError(f"{spec.name}: its spec has no `normalize`; load the engine with from_uint8=True")
    mean, std = (np.asarray(values, np.float32) for values in (spec.normalize.mean, spec.normalize.std))
    rgb = crops_bgr[..., ::-1].astype(np.float32) * np.float32(spec.normalize.scale)
    return np.ascontiguousarray(((rgb - mean) / std).transpose(0, 3, 1, 2))


def _paste(frame_bgr: NDArray[np.uint8], box_xyxy: NDArray[np.float32], canvas: NDArray[np.uint8]) -> bool:
    """Resize the window around a box into the canvas; False where the box shows nothing of the frame."""
    if not np.isfinite(box_xyxy).all():
        return False
    frame_h, frame_w = frame_bgr.shape[:2]
    left, top, right, bottom = (float(value) for value in box_xyxy)
    if min(right, frame_w) - max(left, 0) < 1 or min(bottom, frame_h) - max(top, 0) < 1:
        return False
    out_h, out_w = canvas.shape[:2]
    scale = max((right - left) / out_w, (bottom - top) / out_h) * MARGIN  # pixels of the frame for one of the crop
    x0, y0 = (left + right - scale * out_w) / 2, (top + bottom - scale * out_h) / 2
    x_from, x_to = max(0, round(x0)), min(frame_w, round(x0 + scale * out_w))
    y_from, y_to = max(0, round(y0)), min(frame_h, round(y0 + scale * out_h))
    u_from, u_to = max(0, round((x_from - x0) / scale)), min(out_w, round((x_to - x0) / scale))
    v_from, v_to = max(0, round((y_from - y0) / scale)), min(out_h, round((y_to - y0) / scale))
    if min(x_to - x_from, y_to - y_from, u_to - u_from, v_to - v_from) < 1:
        return False
    part = frame_bgr[y_from:y_to, x_from:x_to]
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    canvas[v_from:v_to, u_from:u_to] = cv2.resize(part, (u_to - u_from, v_to - v_from), interpolation=method)
    return True


def _mean_bgr(spec: ModelSpec) -> NDArray[np.uint8]:
    mean = spec.normalize.mean if spec.normalize else (0.5, 0.5, 0.5)
    return np.asarray(np.rint(np.array(mean[::-1]) * 255), np.uint8)
