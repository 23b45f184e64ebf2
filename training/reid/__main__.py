"""`python -m training.reid train|export|mask|ranges|evaluate|ablate|adapt-trial`."""

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
        from training.reid.config import TrainConfig
        from training.reid.train import train

        config = TrainConfig(minutes=arguments.minutes, threads=arguments.threads)
        resume = not arguments.fresh
        path = train(arguments.data, arguments.attributes, arguments.run, config, trunk=arguments.trunk, resume=resume)
        print(json.dumps({"checkpoint": str(path)}))
    elif arguments.command == "ablate":
        from training.reid.ablate import ablate
        from training.reid.config import TrainConfig

        config = TrainConfig(minutes=arguments.minutes, threads=arguments.threads)
        given = (arguments.data, arguments.attributes, arguments.run, config)
        print(json.dumps(ablate(*given, trunk=arguments.trunk, seeds=arguments.seeds)))
    elif arguments.command == "adapt-trial":
        from training.reid.adapt_trial import try_adapting
        from training.reid.adapter import AdaptConfig

        adapting = AdaptConfig(minutes=arguments.minutes, threads=arguments.threads, seed=arguments.seed)
        given = (arguments.data, arguments.run, arguments.look, adapting)
        print(json.dumps(try_adapting(*given, known_people=arguments.known_people)))
    elif arguments.command == "export":
        from models.engine import EngineConfig
        from training.reid.evaluate import export_mask
        from training.reid.export import export_run
        from training.reid.words import export_words

        record = export_run(arguments.run, arguments.data)
        print(json.dumps({"words": export_words(arguments.run, arguments.data, arguments.attributes)}))
        print(json.dumps({"mask": str(export_mask(arguments.data, EngineConfig(compiler="openvino")))}))
        print(json.dumps({"weights": str(record.weights.path), **record.metrics["training"]}))
    elif arguments.command == "ranges":
        from training.reid.export import measure_ranges

        print(json.dumps({"ranges": len(measure_ranges(arguments.data).ranges)}))
    elif arguments.command == "mask":
        from models.engine import EngineConfig
        from training.reid.evaluate import export_mask

        print(json.dumps({"mask": str(export_mask(arguments.data, EngineConfig(compiler="openvino")))}))
    else:
        from models.engine import EngineConfig
        from training.reid.evaluate import evaluate

        config = EngineConfig(compiler="openvino", precision=arguments.precision, threads=arguments.threads)
        peer = None if arguments.peer is None else root / "peers" / PEERS[arguments.peer]
        held_out_only = arguments.data is None
        data = arguments.data or root / "reid" / "market1501_600ids.tar"
        asked = {"rerank": arguments.rerank, "mirrored": arguments.mirrored}
        found = evaluate(data, config, peer=peer, held_out_only=held_out_only, **asked)
        print(json.dumps(found))


def _parser(root: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.reid", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, minutes, said in (
        ("train", 80.0, "train anew, or go on from the checkpoint of the run"),
        ("ablate", 10.0, "short trainings: global, + attributes, + parts, + graph, on a split of the 480"),
    ):
        training = commands.add_parser(name, help=said)
        training.add_argument("--data", type=Path, default=root / "reid" / "market1501_600ids.tar")
        training.add_argument("--attributes", type=Path, default=root / "reid" / "attributes.csv")
        training.add_argument(
            "--run", type=Path, default=Path("runs/reid" if name == "train" else "runs/reid-ablation")
        )
        training.add_argument("--trunk", type=Path, help="an older network's safetensors file to begin from")
        training.add_argument("--minutes", type=float, default=minutes, help="processor time of each training in all")
        training.add_argument("--threads", type=int, default=1)
        if name == "train":
            training.add_argument("--fresh", action="store_true", help="begin anew although there is a checkpoint")
        else:
            training.add_argument("--seeds", type=int, default=1)
    trial = commands.add_parser("adapt-trial", help="adapt to half of the 120 held-out people without their labels")
    trial.add_argument("--data", type=Path, default=root / "reid" / "market1501_600ids.tar")
    trial.add_argument("--run", type=Path, default=Path("runs/adapt-trial"))
    trial.add_argument("--look", choices=("market", "dim"), default="dim", help="how the site's cameras see")
    trial.add_argument("--minutes", type=float, default=3.0, help="processor time of the training")
    trial.add_argument("--threads", type=int, default=1)
    trial.add_argument("--seed", type=int, default=3)
    trial.add_argument("--known-people", action="store_true", help="120 training identities instead: to choose by")
    exporting = commands.add_parser("export", help="learn words on the run's checkpoint, write all weights to models/")
    exporting.add_argument("--run", type=Path, default=Path("runs/reid"))
    exporting.add_argument("--data", type=Path, default=root / "reid" / "market1501_600ids.tar")
    exporting.add_argument("--attributes", type=Path, default=root / "reid" / "attributes.csv")
    for name, said in (
        ("mask", "learn which bits a small gallery keeps, as `export` does"),
        ("ranges", "measure the shipped network's activations again, as `export` does"),
    ):
        again = commands.add_parser(name, help=said)
        again.add_argument("--data", type=Path, default=root / "reid" / "market1501_600ids.tar")
    testing = commands.add_parser("evaluate", help="the Market protocol; JSON on the last line")
    testing.add_argument(
        "--data", type=Path, help="tar or folder, every identity is tested (default: the split's 120 held-out ones)"
    )
    testing.add_argument("--peer", choices=sorted(PEERS), help="another's network instead of ours")
    testing.add_argument("--mirrored", action="store_true", help="the mean of each crop and its mirror image")
    testing.add_argument("--rerank", action="store_true", help="also after k-reciprocal re-ranking")
    testing.add_argument("--precision", choices=("auto", "f32", "bf16", "f16", "int8"), default="auto")
    testing.add_argument("--threads", type=int)
    return parser


if __name__ == "__main__":
    main()
