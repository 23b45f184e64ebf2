"""`python -m training.expression train|export|ranges|evaluate|conditions|noise|ablate`; the last line is JSON."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.expression.data import FaceSet


def main() -> None:
    """Parse the command and run it; `evaluate` and `conditions` need no torch."""
    arguments = _parser(Path(os.environ.get("FOVEAL_DATA", "../shared/data")) / "fer").parse_args()
    print(json.dumps(_COMMANDS[arguments.command](arguments)))


def _train(given: argparse.Namespace) -> dict[str, Any]:
    from training.expression.config import TrainConfig
    from training.expression.train import train

    config = TrainConfig(minutes=given.minutes, threads=given.threads)
    return {"checkpoint": str(train(given.data, given.run, config, resume=not given.fresh))}


def _export(given: argparse.Namespace) -> dict[str, Any]:
    from training.expression.export import export_run

    record = export_run(given.run, given.data)
    return {"weights": str(record.weights.path), **record.metrics["training"]}


def _ranges(given: argparse.Namespace) -> dict[str, Any]:
    from training.expression.data import read_faces, validation_split
    from training.expression.export import measure_ranges

    return {"ranges": len(measure_ranges(validation_split(read_faces(given.data))[0]).ranges)}


def _evaluate(given: argparse.Namespace) -> dict[str, Any]:
    from models.engine import EngineConfig
    from training.expression.evaluate import evaluate

    config = EngineConfig(compiler="openvino", precision=given.precision, threads=given.threads)
    return evaluate(_judged(given), config, flip=given.flip)


def _conditions(given: argparse.Namespace) -> dict[str, Any]:
    from models.engine import EngineConfig
    from training.expression.conditions import measure_conditions

    config = EngineConfig(compiler="openvino", precision=given.precision, threads=given.threads)
    return measure_conditions(_judged(given), config, given.out)


def _judged(given: argparse.Namespace) -> FaceSet:
    from training.expression.data import read_faces, validation_split

    if given.held_out:
        return validation_split(read_faces(given.folder / "fer2013_train.npz"))[1]
    return read_faces(given.data or given.folder / "fer2013_public_test.npz")


def _noise(given: argparse.Namespace) -> dict[str, Any]:
    from training.expression.trials import try_noise

    percents = tuple(given.percent)
    asked = {"minutes": given.minutes, "seeds": given.seeds, "count": given.faces, "trunk_minutes": given.trunk_minutes}
    return {"trials": try_noise(given.data, given.run, percents=percents, **asked)}


def _ablate(given: argparse.Namespace) -> dict[str, Any]:
    from training.expression.trials import ablate

    return {"trials": ablate(given.data, given.run, minutes=given.minutes, seeds=given.seeds)}


_COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "train": _train,
    "export": _export,
    "ranges": _ranges,
    "evaluate": _evaluate,
    "conditions": _conditions,
    "noise": _noise,
    "ablate": _ablate,
}


def _parser(folder: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.expression", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train from scratch, or go on from the checkpoint of the run")
    training.add_argument("--minutes", type=float, default=75.0, help="of processor time, all runs together")
    training.add_argument("--threads", type=int, default=1)
    training.add_argument("--fresh", action="store_true", help="begin anew although there is a checkpoint")
    exporting = commands.add_parser("export", help="calibrate and write the run's last checkpoint to models/")
    ranging = commands.add_parser("ranges", help="measure the shipped network's activations again, as `export` does")
    ranging.add_argument("--data", type=Path, default=folder / "fer2013_train.npz")
    noise = commands.add_parser("noise", help="wrong labels: ours, cross-entropy, label smoothing, relabelling")
    noise.add_argument("--percent", type=int, nargs="+", default=[10, 20, 30], help="of the labels flipped")
    noise.add_argument("--faces", type=int, default=6000, help="that are learned from")
    noise.add_argument("--trunk-minutes", type=float, default=20.0, help="of the trunk that all begin with")
    ablation = commands.add_parser("ablate", help="the method without each of its parts")
    for command, run in ((training, ""), (exporting, ""), (noise, "-noise"), (ablation, "-ablation")):
        command.add_argument("--data", type=Path, default=folder / "fer2013_train.npz")
        command.add_argument("--run", type=Path, default=Path(f"runs/expression{run}"))
    for command, minutes in ((noise, 3.0), (ablation, 20.0)):
        command.add_argument("--minutes", type=float, default=minutes, help="of processor time, each trial")
        command.add_argument("--seeds", type=int, default=3)
    testing = commands.add_parser("evaluate", help="accuracy and calibration")
    testing.add_argument("--flip", action="store_true", help="mean of each face and its mirror image")
    harder = commands.add_parser("conditions", help="by resolution, blur, JPEG quality, rotation, and risk-coverage")
    harder.add_argument("--out", type=Path, default=Path("runs/expression/conditions"), help="table and curves")
    for command in (testing, harder):
        command.set_defaults(folder=folder)
        which = command.add_mutually_exclusive_group()
        which.add_argument("--data", type=Path, help="npz, or a folder a class (default: FER2013's public test)")
        which.add_argument("--held-out", action="store_true", help="the training faces that are held out, to choose by")
        command.add_argument("--precision", choices=("auto", "f32", "bf16", "f16", "int8"), default="auto")
        command.add_argument("--threads", type=int)
    return parser


if __name__ == "__main__":
    main()
