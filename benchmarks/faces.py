"""Faces a second of the expression network beside mini-XCEPTION: `python -m benchmarks.faces`; JSON on the last line.

mini-XCEPTION (Arriaga et al., 2017) is what the package `fer` carries. It is built here layer by layer with random
weights: its speed is compared, not its accuracy. Both run on OpenVINO in the same batch and threads, turn
by turn; ours is given uint8 faces, once as the bare engine and once through the reader, which makes readings.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from benchmarks.machine import describe_machine
from benchmarks.rate import TURNS, calls_a_second
from models.engine import EngineConfig, load_engine
from models.expression import EXPRESSION_NANO, ExpressionReader

__all__ = ["main", "mini_xception"]

SIDE = 64
WIDTHS = (16, 32, 64, 128)
BATCHES = 8  # asked for at once, so that no core waits for the next


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faces", description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--streams", type=int, default=2, help="inferences side by side, as perception has them")
    parser.add_argument("--precision", choices=("auto", "f32", "bf16", "int8"), default="auto", help="ours")
    parser.add_argument("--peer-precision", choices=("f32", "bf16"), default="bf16", help="nobody quantized the peer's")
    given = parser.parse_args()
    config = EngineConfig(compiler="openvino", precision=given.precision, threads=given.threads, streams=given.streams)
    faces = np.random.default_rng(0).integers(0, 256, (given.batch, 48, 48), np.uint8)
    engine = load_engine(EXPRESSION_NANO, config, from_uint8=True)
    reader = ExpressionReader(engine)
    hints = {
        "INFERENCE_PRECISION_HINT": given.peer_precision,
        "INFERENCE_NUM_THREADS": given.threads,
        "NUM_STREAMS": given.streams,
    }
    peer = ov.AsyncInferQueue(ov.Core().compile_model(mini_xception(given.batch), "CPU", hints), given.streams)
    pixels = np.random.default_rng(1).standard_normal((given.batch, 1, SIDE, SIDE)).astype(np.float32)
    inputs = {EXPRESSION_NANO.input.name: faces[..., None]}

    def ours() -> None:
        for pending in [engine.run_async(inputs) for _ in range(BATCHES)]:
            pending.result()

    def theirs() -> None:
        for _ in range(BATCHES):
            peer.start_async([pixels])
        peer.wait_all()

    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "engine": (ours, BATCHES),
        "reader": (lambda: reader.read_faces(faces), 1),  # one batch after the other
        "mini_xception": (theirs, BATCHES),
    }
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, (call, batches) in calls.items():
            rates[name].append(calls_a_second(call) * batches * given.batch)
    faces_a_second = {name: round(float(np.median(values))) for name, values in rates.items()}
    print(json.dumps({"faces_a_second": faces_a_second, **vars(given), "machine": describe_machine()}))


def mini_xception(batch: int) -> ov.Model:
    """float32 [batch, 1, 64, 64] -> [batch, 7], random weights; batch norm is folded, as a compiler does."""
    generator = np.random.default_rng(2)

    def weights(*shape: int) -> Any:
        return ops.constant((generator.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    def convolved(node: Any, outputs: int, side: int, stride: int = 1, pad: str = "VALID") -> Any:
        inputs = node.output(0).partial_shape[1].get_length()
        bare = ops.convolution(
            node, weights(outputs, inputs, side, side), [stride] * 2, [0, 0], [0, 0], [1, 1], auto_pad=pad
        )
        return ops.add(bare, weights(1, outputs, 1, 1))

    def separable(node: Any, outputs: int) -> Any:
        inputs = node.output(0).partial_shape[1].get_length()
        deep = ops.group_convolution(
            node, weights(inputs, 1, 1, 3, 3), [1, 1], [0, 0], [0, 0], [1, 1], auto_pad="SAME_UPPER"
        )
        return convolved(deep, outputs, 1)

    faces = ops.parameter([batch, 1, SIDE, SIDE], np.float32)
    node = ops.relu(convolved(ops.relu(convolved(faces, 8, 3)), 8, 3))
    for width in WIDTHS:
        beside = convolved(node, width, 1, 2, "SAME_UPPER")
        deep = separable(ops.relu(separable(node, width)), width)
        pooled = ops.max_pool(deep, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], auto_pad="SAME_UPPER").output(0)
        node = ops.add(pooled, beside)
    scores = ops.reduce_mean(convolved(node, 7, 3, 1, "SAME_UPPER"), ops.constant(np.array([2, 3])), False)
    return ov.Model([ops.softmax(scores, 1)], [faces], "mini-xception")


if __name__ == "__main__":
    main()
