"""`python -m training.expression train|export|evaluate`."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path


def main() -> None:
    """Parse the command and run it; `evaluate` needs no torch."""
    parser = argparse.ArgumentParser(prog="python -m training.expression", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    folder = Path(os.environ.get("FOVEAL_DATA", "../shared/data")) / "fer"
    training = commands.add_parser("train", help="train from scratch, or go on from the checkpoint of the run")
    training.add_argument("--data", type=Path, default=folder / "fer2013_train.npz")
    training.add_argument("--run", type=Path, default=Path("runs/expression"))
    training.add_argument("--minutes", type=float, default=75.0, help="training time in all, over all resumptions")
    training.add_argument("--threads", type=int, default=1)
    training.add_argument("--fresh", action="store_true", help="begin anew although there is a checkpoint")
    arguments = parser.parse_args()
    if arguments.command == "train":
        from training.expression.train import TrainConfig, train

        config = TrainConfig(minutes=arguments.minutes, threads=arguments.threads)
        print(json.dumps({"checkpoint": str(train(arguments.data, arguments.run, config, resume=not arguments.fresh))}))


if __name__ == "__main__":
    main()
