"""`python -m training.ssr COMMAND`: from scenes to the network that is served.

`render` writes sequences (with --test: of the scenes that are never trained on), `train` learns and resumes,
`validate` judges the checkpoint on sequences that are held out, `ablate` what each part of it is worth, `export` writes
its averaged weights to models/ssr/weights, `evaluate` compares methods, `picture` makes the README's picture of them,
`converge` tells dB by frames since a restart; the last line of those that judge is JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from models.errors import ModelError

RUN = Path("runs/ssr")
PICTURE, PICTURED_SCENE = Path("docs/pictures/ssr.jpg"), "teapot-full"


def main() -> None:
    """Parse and run one command."""
    parser = argparse.ArgumentParser(prog="python -m training.ssr", description=__doc__)
    parser.add_argument("command", choices=["all", *_COMMANDS])
    parser.add_argument("--run", type=Path, default=RUN, help="folder of scenes, sequences and the checkpoint")
    parser.add_argument("--data", type=Path, help="evaluate, converge, picture: sequences (default: RUN/test)")
    parser.add_argument(
        "--rounds", type=int, default=4, help="render: two paths in each scene and in a new room, so often"
    )
    parser.add_argument("--test", action="store_true", help="render: the scenes that are never trained on, 480x270")
    parser.add_argument(
        "--out", type=Path, help="demo, picture: what is written (default: the committed one); evaluate: reports"
    )
    parser.add_argument("--precision", default="auto", choices=["auto", "f32", "bf16", "f16"], help="evaluate: ours")
    parser.add_argument("--frames", type=int, help="demo: how many the path is cut into; time: how many of each size")
    parser.add_argument("--reference-spp", type=int, help="demo: samples a pixel of the references")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="of processor time: train in all, ablate --retrain each row"
    )
    parser.add_argument("--retrain", action="store_true", help="ablate: train each row from nothing, for --minutes")
    parser.add_argument("--warm", action="store_true", help="train: begin with the shipped weights, at a lower rate")
    parser.add_argument("--crop", type=int, default=96, help="train: side of the crops, a multiple of 16")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    commands = ["render", "train", "export"] if given.command == "all" else [given.command]
    for command in commands:
        try:
            _COMMANDS[command](given)
        except ModelError as error:
            sys.exit(str(error))


def _render(given: argparse.Namespace) -> None:
    from training.ssr.offline import OfflinePlan, render_offline
    from training.ssr.scenes import TEST_SCENES, TRAINING_SCENES, scene_file
    from training.ssr.sequences import RenderPlan, render_procedural, render_scene

    work = given.run / "scenes"
    if given.test:
        test = OfflinePlan(frames=12, size_wh=(480, 270), reference_spp=256, reference_from=10)
        for name in TEST_SCENES:
            for file in render_offline(scene_file(name, work), test, given.run / "test" / name):
                print(file, flush=True)
        return
    plan, out = RenderPlan(), given.run / "train"
    for turn in range(given.rounds):
        for index, name in enumerate(TRAINING_SCENES):
            list(render_procedural([turn * 100 + index], plan, out, paths=2))
            list(render_scene(name, [turn * 2, turn * 2 + 1], plan, work, out))


def _demo(given: argparse.Namespace) -> None:
    from training.ssr.demo import DEMO_FOLDER, FRAMES, REFERENCE_SPP, render_demo

    frames, spp = given.frames or FRAMES, given.reference_spp or REFERENCE_SPP
    work = given.run / f"demo-{frames}-{spp}"
    print(render_demo(work, given.out or DEMO_FOLDER, frames=frames, reference_spp=spp))


def _train(given: argparse.Namespace) -> None:
    from training.ssr.train import RATE, WARM_RATE, TrainPlan, train

    where, rate = (given.run / "train", given.run / "checkpoint.pt"), WARM_RATE if given.warm else RATE
    plan = TrainPlan(*where, minutes=given.minutes, crop=given.crop, rate=rate, threads=given.threads, warm=given.warm)
    train(plan)


def _validate(given: argparse.Namespace) -> None:
    from training.ssr.ship import load_checkpoint
    from training.ssr.validation import validate

    network, step, _seconds = load_checkpoint(given.run / "checkpoint.pt")
    found = validate(network, given.run / "train")
    print(json.dumps({"step": step, "psnr": sum(found.values()) / len(found), "sequences": found}))


def _ablate(given: argparse.Namespace) -> None:
    from training.ssr.ablation import ablate, as_markdown, retrain
    from training.ssr.ship import load_checkpoint

    if given.retrain:
        found = retrain(given.run / "train", given.run / "ablation", given.minutes, threads=given.threads)
        judged = {"minutes": given.minutes}
    else:
        network, step, _seconds = load_checkpoint(given.run / "checkpoint.pt")
        found, judged = ablate(given.run / "train", network.state_dict()), {"step": step}
    print(as_markdown(found))
    print(json.dumps({**judged, "rows": found}))


def _export(given: argparse.Namespace) -> None:
    from training.ssr.ship import ship

    print(ship(given.run / "checkpoint.pt"))


def _evaluate(given: argparse.Namespace) -> None:
    from models.engine import EngineConfig, load_engine
    from models.ssr.spec import SSR
    from training.ssr.evaluate import evaluate
    from training.ssr.report import write_report

    out = given.out or given.run / "evaluation"
    with load_engine(SSR, EngineConfig(precision=given.precision)) as engine:
        result = evaluate(engine, given.data or given.run / "test", out)
    print(write_report(result, out))
    print(json.dumps(result))


def _picture(given: argparse.Namespace) -> None:
    from models.engine import EngineConfig, load_engine
    from models.ssr.spec import SSR
    from training.ssr.evaluate import evaluate

    folder = given.data or given.run / "test" / PICTURED_SCENE
    work = given.run / "picture"
    with load_engine(SSR, EngineConfig(precision=given.precision)) as engine:
        evaluate(engine, folder, work)
    print(shutil.copyfile(work / f"{folder.name}.jpg", given.out or PICTURE))


def _converge(given: argparse.Namespace) -> None:
    from models.engine import EngineConfig, load_engine
    from models.ssr.spec import SSR
    from training.ssr.convergence import as_markdown, converge

    with load_engine(SSR, EngineConfig(precision=given.precision)) as engine:
        found = converge(engine, given.data or given.run / "test")
    print(as_markdown(found))
    print(json.dumps(found))


def _time(given: argparse.Namespace) -> None:
    from models.engine import EngineConfig, load_engine
    from models.ssr.spec import SSR
    from training.ssr.timing import SIZES_WH, time_frames

    with load_engine(SSR, EngineConfig(precision=given.precision)) as engine:
        found = {f"{w}x{h}": time_frames(engine, (w, h), given.frames or 30) for w, h in SIZES_WH}
        print(json.dumps({"sizes": found, "device": engine.device, "precision": engine.precision}))


_COMMANDS = {
    "render": _render,
    "demo": _demo,
    "train": _train,
    "validate": _validate,
    "ablate": _ablate,
    "export": _export,
    "evaluate": _evaluate,
    "picture": _picture,
    "converge": _converge,
    "time": _time,
}

if __name__ == "__main__":
    main()
