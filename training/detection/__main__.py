"""`python -m training.detection train|export|ranges`; to measure, `python -m models.detection.evaluate` (no torch)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from models.detection.spec import DETECTORS

__all__ = ["main"]

SIZES = [name.removeprefix("detector-") for name in DETECTORS]


def main() -> None:
    """Parse the command and run it."""
    parser = argparse.ArgumentParser(prog="python -m training.detection", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train, resumable, and export at the end")
    training.add_argument("--minutes", type=float, default=60.0, help="of processor time, of all runs together")
    training.add_argument(
        "--begin", choices=sorted(DETECTORS), help="begin with shipped weights; a small network takes nano's over"
    )
    training.add_argument("--threads", type=int, default=1)
    training.add_argument("--seed", type=int, default=0)
    exporting = commands.add_parser("export", help="write the averaged weights of a run as what ships")
    ranging = commands.add_parser("ranges", help="measure the shipped network's activations again, as `export` does")
    for command in (training, exporting, ranging):
        command.add_argument("--data", type=Path, default=Path(os.environ.get("FOVEAL_DATA", "../shared/data")))
        command.add_argument("--size", choices=SIZES, default="nano")
        command.add_argument("--run", type=Path, help="default: runs/detection-SIZE")
    options = parser.parse_args()
    run = options.run or Path(f"runs/detection-{options.size}")
    if options.command == "train":
        from training.detection.distill import Teacher
        from training.detection.train import load_training_set, train

        peers = options.data / "peers"
        train(
            load_training_set(options.data / "detect", peers, run),
            run,
            minutes=options.minutes,
            teacher=Teacher(peers / "yolox_nano.onnx"),
            seed=options.seed,
            threads=options.threads,
            size=options.size,
            begin=DETECTORS[options.begin] if options.begin else None,
        )
    from training.detection.ship import measure_ranges, ship

    if options.command == "ranges":
        measure_ranges(options.size, options.data / "detect")
    else:
        ship(run, options.size, options.data / "detect")


if __name__ == "__main__":
    main()
