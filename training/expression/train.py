"""Train the expression network by label distributions, on a schedule of processor time so that it ends in time.

Le et al., WACV 2023, section 3. Choices and calibration are made on a tenth of FER2013's training faces, held out by
the hash of their pixels; the public test is only for `evaluate`.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.expression.network import EXPRESSION_COUNT, ExpressionNet
from training.bookkeeping import say, trains_in_half
from training.expression.affect import affect_of, crowd_of, nearest
from training.expression.augment import augment_faces, normalize_faces
from training.expression.config import TrainConfig
from training.expression.data import FaceSet, read_faces, validation_split
from training.expression.learner import Learner

__all__ = ["Outputs", "outputs_of", "score", "train", "train_on"]

CHECKPOINT_EVERY_S, VALIDATE_EVERY_S = 120.0, 300.0
LOG_EVERY = 50
Outputs = tuple[Tensor, Tensor, Tensor, Tensor]
"""Logits [N, 7], valence and arousal [N, 2], the doubt's logits [N] and the crowd's [N, 8]."""


def train(data: Path, run: Path, config: TrainConfig, *, resume: bool = True) -> Path:
    """Train on nine tenths of the faces; returns the path of the last checkpoint.

    Raises: FileNotFoundError, NoFacesError or ValueError for the data.
    """
    faces, validation = validation_split(read_faces(data))
    return train_on(faces, validation, run, config, resume=resume)


def train_on(
    faces: FaceSet,
    validation: FaceSet,
    run: Path,
    config: TrainConfig,
    *,
    resume: bool = True,
    trunk: Path | None = None,
) -> Path:
    """The same with the split made by the caller; `trunk` is a checkpoint whose trunk a fresh run begins with."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    run.mkdir(parents=True, exist_ok=True)
    affect, voted = affect_of(faces)
    half = trains_in_half()
    learner = Learner(config, faces.labels, affect, voted, crowd_of(faces), half=half)
    path, log = run / "checkpoint.pt", run / "log.jsonl"
    if resume and path.exists():
        learner.load(path)
    elif trunk is not None:
        learner.begin_from(trunk)
    images = torch.from_numpy(faces.images)
    # A resumed run draws other batches than the first: the seed moves with the seconds spent.
    generator = torch.Generator().manual_seed(config.seed + int(learner.spent_s))
    numbers = np.random.default_rng(config.seed + int(learner.spent_s))
    saved, validated, drawn, running = learner.spent_s, learner.spent_s, -1.0, np.zeros(5)
    neighbours = torch.zeros(len(images), config.neighbours, dtype=torch.int64)
    order = torch.empty(0, dtype=torch.int64)
    while (progress := learner.spent_s / (60 * config.minutes)) < 1:
        started = time.process_time()
        if progress >= config.distributions_from and (drawn < 0 or progress - drawn > config.redraw):
            neighbours, drawn = torch.from_numpy(nearest(affect, config.neighbours, numbers)), progress
        if len(order) < config.batch:
            order = torch.randperm(len(images), generator=generator)
        indices, order = order[: config.batch], order[config.batch :]
        inputs, ruined = augment_faces(images[indices], generator, geometry_only=config.geometry_only)
        inputs = inputs.to(memory_format=torch.channels_last)
        running += learner.step(inputs, ruined, indices, neighbours[indices], progress)
        learner.spent_s += time.process_time() - started
        if learner.steps % LOG_EVERY == 0:
            names = ("loss", "divergence", "affect", "doubt", "accuracy")
            row = dict(zip(names, (running / LOG_EVERY).round(4).tolist(), strict=True))
            factor = round(float(learner.distributions.factor.mean()), 4)
            epoch = round(learner.steps * config.batch / len(images), 2)
            say(log, step=learner.steps, epoch=epoch, spent_s=round(learner.spent_s), factor=factor, **row)
            running[:] = 0
        if learner.spent_s - saved > CHECKPOINT_EVERY_S:
            learner.save(path)
            saved = learner.spent_s
        if learner.spent_s - validated > VALIDATE_EVERY_S:
            validated = learner.spent_s
            say(log, step=learner.steps, validation=score(learner.average, validation))
    learner.save(path)
    say(log, step=learner.steps, validation=score(learner.average, validation))
    return path


@torch.no_grad()
def outputs_of(network: ExpressionNet, faces: FaceSet) -> Outputs:
    """What the heads say of all faces, uncalibrated."""
    images = torch.from_numpy(faces.images)
    rows = [network.heads(network.features(normalize_faces(images[i : i + 128]))) for i in range(0, len(images), 128)]
    logits, affect, doubt, crowd = (torch.cat(part) for part in zip(*rows, strict=True))
    return logits, affect, doubt, crowd


def score(network: ExpressionNet, faces: FaceSet) -> dict[str, float]:
    """Percent right of all, of each class in the mean and of the surest 70 %, and the cross-entropy."""
    logits, _, doubt, _ = outputs_of(network, faces)
    labels = torch.from_numpy(faces.labels)
    right = (logits.argmax(dim=1) == labels).float()
    each = [float(right[labels == label].mean()) for label in range(EXPRESSION_COUNT)]
    sure = right[doubt.argsort()[: int(0.7 * len(right))]]
    return {
        "accuracy": round(100 * float(right.mean()), 2),
        "balanced_accuracy": round(100 * float(np.mean(each)), 2),
        "loss": round(float(F.cross_entropy(logits, labels)), 4),
        "accuracy_of_the_surest_70_percent": round(100 * float(sure.mean()), 2),
    }
