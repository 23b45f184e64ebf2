"""Train the embedder on a schedule of processor time, so that it ends in time on a busy machine.

Luo et al., CVPRW 2019 (losses, warm-up); GPS, CVPRW 2021 (attributes, parts, graph). Weights are averaged
exponentially; the first crops are 96x48 at half the cost. Progress, learning rate and size follow the seconds spent,
which a checkpoint carries on. The 120 held-out identities are not read.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from models.reid.attributes import GROUPS, LABELS
from models.reid.text import TextEncoder
from training.bookkeeping import say, trains_in_half
from training.reid.attributes import UNKNOWN, correlations, read_attributes
from training.reid.augment import augment_crops
from training.reid.config import TrainConfig
from training.reid.data import CropSet, development_split, read_crops
from training.reid.learner import Learner
from training.reid.sampler import CameraAwareBatches

__all__ = ["train", "train_on"]

CHECKPOINT_EVERY_S = 120.0
LOG_EVERY = 100
SMALL_HW, FULL_HW = (96, 48), (128, 64)


def train(
    data: Path, attributes: Path, run: Path, config: TrainConfig, *, trunk: Path | None = None, resume: bool = True
) -> Path:
    """Train on the development split's 480 identities; returns the path of the last checkpoint.

    `trunk` is an older network's safetensors file whose stem and blocks a fresh run takes over where they fit.
    Raises: FileNotFoundError or NoCropsError for the data; TextEncoderMissingError.
    """
    crops, _ = development_split(read_crops(data))
    return train_on(crops, attributes, run, config, trunk=trunk, resume=resume)


def train_on(
    crops: CropSet,
    attributes: Path | None,
    run: Path,
    config: TrainConfig,
    *,
    trunk: Path | None = None,
    resume: bool = True,
) -> Path:
    """The same on crops that the caller chose; without `attributes` none are learned."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    run.mkdir(parents=True, exist_ok=True)
    names, labels = np.unique(crops.identities, return_inverse=True)
    told = np.full((len(names), len(GROUPS)), UNKNOWN) if attributes is None else read_attributes(attributes, names)
    half = trains_in_half()
    learner = Learner(config, len(names), half=half)
    path, log = run / "checkpoint.pt", run / "log.jsonl"
    if resume and path.exists():
        learner.load(path)
    else:
        learner.know(TextEncoder().encode([label.phrase for label in LABELS]), correlations(told))
        if trunk is not None:
            say(log, taken_over=len(learner.begin_from(load_file(trunk))))
    images, targets = torch.from_numpy(crops.images), torch.from_numpy(labels.astype(np.int64))
    described = torch.from_numpy(told)[targets]
    # A resumed run draws other batches than the first: the seed moves with the seconds spent.
    seed = config.seed + int(learner.spent_s)
    generator = torch.Generator().manual_seed(seed)
    batches = CameraAwareBatches(
        crops.identities, crops.cameras, config.people, config.crops_each, np.random.default_rng(seed)
    )
    saved, running = learner.spent_s, np.zeros(5)
    for indices in batches:
        progress = learner.spent_s / (60 * config.minutes)
        if progress >= 1:
            break
        started = time.process_time()
        size = SMALL_HW if progress < config.small_until else FULL_HW
        inputs = augment_crops(images[indices], size, generator).to(memory_format=torch.channels_last)
        running += learner.step(inputs, targets[indices], described[indices], progress)
        learner.spent_s += time.process_time() - started
        if learner.steps % LOG_EVERY == 0:
            kinds = ("loss", "identity", "triplet", "attributes", "right")
            row = dict(zip(kinds, (running / LOG_EVERY).round(4).tolist(), strict=True))
            say(log, step=learner.steps, spent_s=round(learner.spent_s), progress=round(progress, 4), **row)
            running[:] = 0
        if learner.spent_s - saved > CHECKPOINT_EVERY_S:
            learner.save(path)
            saved = learner.spent_s
    learner.save(path)
    return path
