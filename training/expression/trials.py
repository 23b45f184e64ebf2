"""Short trainings beside each other: robustness to wrong labels, and what each part of the method does.

Every trial has the same network, the same processor time and the same faces to be judged on: the tenth of FER2013's
training split that is held out, with its labels as they are. The public test is never seen here. Wrong labels hurt who
learns them by heart: the noise trials begin with a trunk that was trained on other faces (as the paper's on people's
names) and see few faces, many times, with little augmentation.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.expression.network import ExpressionNet
from models.expression.spec import EXPRESSIONS
from training.expression.config import METHODS, TrainConfig
from training.expression.data import FaceSet, read_faces, validation_split
from training.expression.train import score, train_on

__all__ = ["ABLATION", "ablate", "flip_labels", "try_noise"]

NOISE_PERCENT = (10, 20, 30)
# With wrong labels no head may learn from the votes, which are right; LDLVA's neighbours still come from them.
LABELS_ALONE: dict[str, Any] = {"crowd_weight": 0.0, "affect_weight": 0.0}
NOISE: dict[str, Any] = {**LABELS_ALONE, "geometry_only": True, "learning_rate": 0.03}
ABLATION: dict[str, dict[str, Any]] = {
    "whole": {},
    "labels for distributions": {"method": "plain"},
    "uncertainty factor fixed at 0.2": {"learned_factor": False},
    "no discriminative loss": {"discriminative_weight": 0.0},
    "K = 2": {"neighbours": 2},
    "K = 24": {"neighbours": 24},
    "no crowd votes": {"crowd_weight": 0.0},
    "no valence and arousal": {"affect_weight": 0.0},
}


@dataclass(frozen=True, slots=True)
class _Trial:
    name: str
    config: TrainConfig
    faces: FaceSet


def try_noise(
    data: Path,
    run: Path,
    *,
    minutes: float,
    seeds: int,
    count: int,
    trunk_minutes: float,
    percents: tuple[int, ...] = NOISE_PERCENT,
) -> list[dict[str, Any]]:
    """Each of METHODS on `count` faces of whose labels so many percent are flipped, the same for each method.

    All begin with one trunk, trained on the other faces. A trial that is on record is not repeated.
    """
    known, held = validation_split(read_faces(data))
    judged = np.random.default_rng(0).permutation(len(known.labels)) < count
    faces = known.take(judged)
    plain = TrainConfig(minutes=trunk_minutes, method="plain", **LABELS_ALONE)
    trunk = train_on(known.take(~judged), held, run / f"trunk-{trunk_minutes:g}", plain)

    def trials() -> Iterator[_Trial]:
        for percent in percents:
            for seed in range(seeds):
                flipped = flip_labels(faces, percent, seed)
                for method in METHODS:
                    config = TrainConfig(minutes=minutes, seed=seed, method=method, **NOISE)
                    yield _Trial(f"{method}, {percent} % of {len(faces.labels)} wrong", config, flipped)

    return _run(trials(), held, run, trunk)


def ablate(data: Path, run: Path, *, minutes: float, seeds: int) -> list[dict[str, Any]]:
    """The method without one of its parts. A trial that is on record is not repeated."""
    faces, held = validation_split(read_faces(data))
    whole = TrainConfig(minutes=minutes)
    trials = (
        _Trial(name, dataclasses.replace(whole, seed=seed, **changes), faces)
        for seed in range(seeds)
        for name, changes in ABLATION.items()
    )
    return _run(trials, held, run)


def flip_labels(faces: FaceSet, percent: int, seed: int) -> FaceSet:
    """So many percent of the labels made one of the six others."""
    generator = np.random.default_rng(1000 * percent + seed)
    count = len(EXPRESSIONS)
    chosen = generator.permutation(len(faces.labels))[: len(faces.labels) * percent // 100]
    labels = faces.labels.copy()
    labels[chosen] = (labels[chosen] + generator.integers(1, count, len(chosen))) % count
    return FaceSet(faces.images, labels, faces.votes)


def _run(trials: Iterator[_Trial], held: FaceSet, run: Path, trunk: Path | None = None) -> list[dict[str, Any]]:
    run.mkdir(parents=True, exist_ok=True)
    record = run / "trials.json"
    done: dict[str, dict[str, Any]] = json.loads(record.read_text()) if record.is_file() else {}
    for trial in trials:
        key = f"{trial.name}; seed {trial.config.seed}; {trial.config.minutes:g} min"
        if key in done:
            continue
        path = train_on(trial.faces, held, run / "now", trial.config, resume=False, trunk=trunk)
        kept = torch.load(path, weights_only=True)
        network = ExpressionNet()
        network.load_state_dict(kept["average"])
        measured = score(network.eval(), held)
        done[key] = {"trial": trial.name, "minutes": trial.config.minutes, "steps": kept["steps"], **measured}
        record.write_text(json.dumps(done, indent=2) + "\n")
    return _means(done)


def _means(done: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, float], list[float]] = {}
    for one in done.values():
        groups.setdefault((one["trial"], one["minutes"]), []).append(one["accuracy"])
    return [
        {
            "trial": name,
            "minutes": minutes,
            "accuracy": round(float(np.mean(values)), 2),
            "deviation": round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else None,
            "seeds": len(values),
        }
        for (name, minutes), values in groups.items()
    ]
