"""`python -m training.reid train|export|evaluate`."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

PEERS = {"osnet_x0_25_msmt17": "osnet_x0_25_msmt17.onnx"}


def main() -> None:
    """Parse the command and run it; `evaluate` needs no torch."""
    root = Path(os.environ.get("FOVEAL_DATA", "../shared/data"))
    arguments = _parser(root).parse_args()
    if arguments.command == "train":
        from training.reid.train import TrainConfig, train

        config = TrainConfig(minutes=arguments.minutes, threads=arguments.threads)
        path = train(arguments.data, arguments.run, config, resume=not arguments.fresh)
        print(json.dumps({"checkpoint": str(path)}))
    elif arguments.command == "export":
        from training.reid.export import export_run

        record = export_run(arguments.run)
        print(json.dumps({"weights": str(record.weights.path), **record.metrics["training"]}))
    else:
        from models.engine import EngineConfig
        from training.reid.evaluate import evaluate

        config = EngineConfig(compiler="openvino", precision=arguments.precision, threads=arguments.threads)
        peer = None if arguments.peer is None else root / "peers" / PEERS[arguments.peer]
        held_out_only = arguments.data is None
        data = arguments.data or root / "reid" / "market1501_600ids.tar"
        print(json.dumps(evaluate(data, config, peer=peer, held_out_only=held_out_only)))


def _parser(root: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.reid", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train from scratch, or go on from the checkpoint of the run")
    training.add_argument("--data", type=Path, default=root / "reid" / "market1501_600ids.tar")
    training.add_argument("--run", type=Path, default=Path("runs/reid"))
    training.add_argument("--minutes", type=float, default=75.0, help="training time in all, over all resumptions")
    training.add_argument("--threads", type=int, default=1)
    training.add_argument("--fresh", action="store_true", help="begin anew although there is a checkpoint")
    exporting = commands.add_parser("export", help="write the weights of the run's last checkpoint to models/")
    exporting.add_argument("--run", type=Path, default=Path("runs/reid"))
    testing = commands.add_parser("evaluate", help="the Market protocol; JSON on the last line")
    testing.add_argument(
        "--data", type=Path, help="tar or folder, every identity is tested (default: the split's 120 held-out ones)"
    )
    testing.add_argument("--peer", choices=sorted(PEERS), help="another's network instead of ours")
    testing.add_argument("--precision", choices=("auto", "f32", "bf16", "f16"), default="auto")
    testing.add_argument("--threads", type=int)
    return parser


if __name__ == "__main__":
    main()
