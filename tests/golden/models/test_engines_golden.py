"""Numbers written down once: preprocessing folded into a graph, and the tracks of a crossing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from onnx import TensorProto, helper

from models.engine import EngineConfig, ShapeProfile, load_onnx
from models.engine.preprocess import fold_pixels, pixel_input
from models.spec import ModelSpec, Normalize, TensorSpec
from models.tracking import Tracker, TrackingConfig

FLOAT32 = 1e-6
"""Tolerance: one multiplication and one addition in float32 on numbers of size 2."""

IMAGENET = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), scale=1 / 255)
BGR = (10, 128, 255)
NORMALIZED_RGB = (2.2489083, 0.2051822, -1.6301525)
"""(255/255 - 0.485) / 0.229, (128/255 - 0.456) / 0.224, (10/255 - 0.406) / 0.225."""

CROSSING = [
    [-1, -1],
    [0, 1],
    [0, 1],
    [0, 1],
    [0, 1],
    [0, 1],
    [0],  # the one behind is hidden
    [0],
    [1, 0],  # and comes out on the other side; the detector now lists him first
    [1, 0],
    [1, 0],
]


def test_a_pixel_is_reordered_and_normalized_in_the_graph() -> None:
    spec = ModelSpec(
        name="same",
        version=1,
        paper="none",
        inputs=(TensorSpec("x", "NCHW", channels="RGB"),),
        outputs=(TensorSpec("y", "NCHW", channels="RGB"),),
        folder=Path("nowhere"),
        licence="none",
        card="none",
        normalize=IMAGENET,
    )
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    pixels = pixel_input(spec)
    folded = fold_pixels(model, spec)
    profile = ShapeProfile({pixels.name: (None, None, None, (3, 3, 3))})
    config = EngineConfig(compiler="openvino", precision="f32", threads=1)
    with load_onnx(folded, "same-1", (pixels,), spec.outputs, profile, config) as engine:
        came = engine.run({"x": np.full((1, 2, 2, 3), BGR, np.uint8)})["y"]
    assert came.shape == (1, 3, 2, 2)
    for channel, expected in enumerate(NORMALIZED_RGB):
        np.testing.assert_allclose(came[0, channel], expected, atol=FLOAT32)


def test_two_who_cross_keep_their_numbers() -> None:
    tracker = Tracker(TrackingConfig(frame_rate=10))
    came = []
    for index, expected in enumerate(CROSSING):
        front, behind = 100 + 12 * index, 260 - 12 * index
        centres = [front] if len(expected) == 1 else [behind, front] if expected == [1, 0] else [front, behind]
        boxes = np.array([(x - 25, 100, x + 25, 250) for x in centres], np.float32)
        seen = SimpleNamespace(boxes_xyxy=boxes, scores=np.full(len(boxes), 0.9, np.float32))
        came.append(tracker.update(seen, captured_at_s=index / 10).tolist())
    assert came == CROSSING
