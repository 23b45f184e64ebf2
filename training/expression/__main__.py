"""`python -m training.expression train|export|evaluate`."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path


def main() -> None:
    """Parse the command and run it; `evaluate` needs no torch."""
    arguments = _parser(Path(os.environ.get("FOVEAL_DATA", "../shared/data")) / "fer").parse_args()
    if arguments.command == "train":
        from training.expression.train import TrainConfig, train

        config = TrainConfig(minutes=arguments.minutes, threads=arguments.threads)
        path = train(arguments.data, arguments.run, config, resume=not arguments.fresh)
        print(json.dumps({"checkpoint": str(path)}))
    elif arguments.command == "export":
        from training.expression.export import export_run

        record = export_run(arguments.run, arguments.data)
        print(json.dumps({"weights": str(record.weights.path), **record.metrics["training"]}))
    else:
        from models.engine import EngineConfig
        from training.expression.evaluate import evaluate

        config = EngineConfig(compiler="openvino", precision=arguments.precision, threads=arguments.threads)
        print(json.dumps(evaluate(arguments.data, config, flip=arguments.flip)))


def _parser(folder: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.expression", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train from scratch, or go on from the checkpoint of the run")
    training.add_argument("--data", type=Path, default=folder / "fer2013_train.npz")
    training.add_argument("--run", type=Path, default=Path("runs/expression"))
    training.add_argument("--minutes", type=float, default=75.0, help="training time in all, over all resumptions")
    training.add_argument("--threads", type=int, default=1)
    training.add_argument("--fresh", action="store_true", help="begin anew although there is a checkpoint")
    exporting = commands.add_parser("export", help="calibrate and write the run's last checkpoint to models/")
    exporting.add_argument("--data", type=Path, default=folder / "fer2013_train.npz")
    exporting.add_argument("--run", type=Path, default=Path("runs/expression"))
    testing = commands.add_parser("evaluate", help="accuracy and calibration; JSON on the last line")
    testing.add_argument(
        "--data", type=Path, default=folder / "fer2013_public_test.npz", help="npz, or a folder a class"
    )
    testing.add_argument("--flip", action="store_true", help="mean of each face and its mirror image")
    testing.add_argument("--precision", choices=("auto", "f32", "bf16", "f16"), default="auto")
    testing.add_argument("--threads", type=int)
    return parser


if __name__ == "__main__":
    main()
