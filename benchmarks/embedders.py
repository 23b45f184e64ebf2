"""Pictures a second of the ReID embedder beside a peer: `python -m benchmarks.embedders`; JSON on the last line.

The peer is OSNet x0.25 (Zhou et al., ICCV 2019), trained on MSMT17. Both run on OpenVINO in the same batch,
threads and streams, turn by turn, each with inputs of its own size made beforehand: ours uint8 crops 128x64, the peer
normalized crops 256x128.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import openvino as ov

from benchmarks.machine import describe_machine
from benchmarks.rate import TURNS, calls_a_second
from models.engine import EngineConfig, load_engine
from models.reid import REID_NANO

__all__ = ["main"]

BATCHES = 8  # asked for at once, so that no core waits for the next


def main() -> None:
    """Parse, measure, print."""
    root = Path(os.environ.get("FOVEAL_DATA", "../shared/data"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedders", description=__doc__)
    parser.add_argument("--peer", type=Path, default=root / "peers" / "osnet_x0_25_msmt17.onnx")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--streams", type=int, default=2, help="inferences side by side, as perception has them")
    parser.add_argument("--precision", choices=("auto", "f32", "bf16", "int8"), default="auto", help="ours")
    parser.add_argument("--peer-precision", choices=("f32", "bf16"), default="bf16", help="nobody quantized the peer's")
    given = parser.parse_args()
    config = EngineConfig(compiler="openvino", precision=given.precision, threads=given.threads, streams=given.streams)
    generator = np.random.default_rng(0)
    engine = load_engine(REID_NANO, config, from_uint8=True)
    width, height = REID_NANO.input.size_wh
    crops = generator.integers(0, 256, (given.batch, height, width, 3), np.uint8)
    hints = {
        "INFERENCE_PRECISION_HINT": given.peer_precision,
        "INFERENCE_NUM_THREADS": given.threads,
        "NUM_STREAMS": given.streams,
    }
    core = ov.Core()
    model = core.read_model(given.peer)
    model.reshape([given.batch, 3, 256, 128])
    peer = ov.AsyncInferQueue(core.compile_model(model, "CPU", hints), given.streams)
    pixels = generator.standard_normal((given.batch, 3, 256, 128)).astype(np.float32)

    def ours() -> None:
        for pending in [engine.run_async({REID_NANO.input.name: crops}) for _ in range(BATCHES)]:
            pending.result()

    def theirs() -> None:
        for _ in range(BATCHES):
            peer.start_async([pixels])
        peer.wait_all()

    calls = {REID_NANO.stem: ours, given.peer.stem: theirs}
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            rates[name].append(calls_a_second(call) * BATCHES * given.batch)
    images_a_second = {name: round(float(np.median(values))) for name, values in rates.items()}
    said = vars(given) | {"peer": given.peer.name}
    print(json.dumps({"images_a_second": images_a_second, **said, "machine": describe_machine()}))


if __name__ == "__main__":
    main()
