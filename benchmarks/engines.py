"""What folding the preprocessing into the graph saves: uint8 frames to answers, three ways, interleaved in one run.

`python -m benchmarks.engines [NAME ...] [--batch 8] [--repeats 20] [--json PATH]`: for each network that takes pixels,
the time of one batch with preprocessing in the graph (`from_uint8`), by OpenCV (`blobFromImages`) and by numpy, and
of the network alone, all as ratios to the network alone; median and quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.catalogue import CATALOGUE, find_spec
from models.engine import EngineConfig, ShapeProfile, load_engine
from models.spec import ModelSpec

__all__ = ["compare", "main"]


def compare(spec: ModelSpec, batch: int, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds a batch (median, lower and upper quartile) and the ratio to the network alone."""
    if spec.normalize is None:
        raise ValueError(f"{spec.name} takes no pixels")
    height, width = spec.input.height or 384, spec.input.width or 640
    shapes = ShapeProfile.of(spec, batch=batch, height=height, width=width)
    config = EngineConfig(compiler="openvino")
    size = (batch, height, width, 1) if spec.input.channels == "GRAY" else (batch, height, width, 3)
    frames = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    name = spec.input.name
    with load_engine(spec, config, shapes) as plain, load_engine(spec, config, shapes, from_uint8=True) as folded:
        ready = _by_numpy(frames, spec)
        ways: dict[str, Callable[[], object]] = {
            "network alone": lambda: plain.run({name: ready}),
            "in the graph": lambda: folded.run({name: frames}),
            "OpenCV": lambda: plain.run({name: _by_opencv(frames, spec)}),
            "numpy": lambda: plain.run({name: _by_numpy(frames, spec)}),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for way in ways.values():
            way()
        for _ in range(repeats):
            for label, way in ways.items():
                began = time.perf_counter()
                way()
                times[label].append(1000 * (time.perf_counter() - began))
    alone = statistics.median(times["network alone"])
    return {
        label: {
            "ratio": round(statistics.median(values) / alone, 3),
            "ms": round(statistics.median(values), 3),
            "ms_quartile_1": round(float(np.quantile(values, 0.25)), 3),
            "ms_quartile_3": round(float(np.quantile(values, 0.75)), 3),
        }
        for label, values in times.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=sorted(n for n, s in CATALOGUE.items() if s.normalize))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    found = {name: compare(find_spec(name), arguments.batch, arguments.repeats) for name in arguments.names}
    print(f"batch {arguments.batch}, {os.cpu_count()} cores")
    for name, rows in found.items():
        print(name)
        for label, row in rows.items():
            spread = f"{row['ms_quartile_1']:.2f} to {row['ms_quartile_3']:.2f}"
            print(f"  {label:14s} {row['ratio']:6.2f} x   {row['ms']:8.2f} ms ({spread})")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _by_opencv(frames: NDArray[np.uint8], spec: ModelSpec) -> NDArray[np.float32]:
    """The usual way: blobFromImages for scale, mean, order and layout; then the division by std."""
    normalize = spec.normalize
    if normalize is None:
        raise ValueError(spec.name)
    mean = [value / normalize.scale for value in normalize.mean]
    blob = cv2.dnn.blobFromImages(
        list(frames), normalize.scale, mean=mean, swapRB=spec.input.channels == "RGB", crop=False
    )
    normalized: NDArray[np.float32] = blob / np.asarray(normalize.std, np.float32).reshape(1, -1, 1, 1)
    return normalized


def _by_numpy(frames: NDArray[np.uint8], spec: ModelSpec) -> NDArray[np.float32]:
    """The plain way."""
    normalize = spec.normalize
    if normalize is None:
        raise ValueError(spec.name)
    ordered = frames[..., ::-1] if spec.input.channels == "RGB" else frames
    mean, std = (np.asarray(values, np.float32) for values in (normalize.mean, normalize.std))
    normalized = (ordered * np.float32(normalize.scale) - mean) / std
    return np.ascontiguousarray(normalized.transpose(0, 3, 1, 2), np.float32)


if __name__ == "__main__":
    main()
