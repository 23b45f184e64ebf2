"""Training of the detector: resumable, by time or epochs, with an averaged copy of the weights that is what ships."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.detection.network import DetectorNet
from models.detection.peers import YoloxNano, YuNet
from models.spec import ModelSpec
from training.bookkeeping import follow, say, trains_in_half, write_checkpoint
from training.detection.data import FACE, PERSON, Sample, augment, load_samples, normalize_batch
from training.detection.distill import Distillation, Teacher
from training.detection.loss import DetectionLoss
from training.detection.teach import teach, teach_landmarks
from training.detection.widen import widen
from training.export import load_network

__all__ = ["load_training_set", "train"]

SIDES = (288, 352, 416)
BATCH = 16
RATE, WARM_RATE, FINAL_RATE = 2e-3, 1e-3, 2e-5
DECAY = 0.03
WARMUP_STEPS = 200
AVERAGE = 0.998
CHECKPOINT_S = 120.0
LOG_EVERY = 50
CALM_SHARE = 0.15  # the last part without mosaic, so that whole pictures are seen as they will be


def load_training_set(data: Path, peers: Path, cache: Path) -> list[Sample]:
    """Both parts, each with the other class's labels and the landmarks that it lacks by the peers."""
    people = load_samples(data / "person_train.csv", PERSON)
    faces = load_samples(data / "face_train.csv", FACE)
    yunet = YuNet(peers / "yunet_n_dynamic.onnx")
    teach(people, FACE, yunet, cache / "yunet.json")
    teach_landmarks(faces, yunet, cache / "landmarks.json")
    teach(faces, PERSON, YoloxNano(peers / "yolox_nano.onnx"), cache / "yolox.json")
    return people + faces


def train(
    samples: list[Sample],
    run: Path,
    *,
    minutes: float,
    teacher: Teacher | None = None,
    seed: int = 0,
    threads: int = 1,
    size: str = "nano",
    begin: ModelSpec | None = None,
) -> Path:
    """Train for `minutes` of processor time in all (over resumed runs); returns the checkpoint.

    The schedule follows that time, so a run that is stopped or shares its cores anneals all the same. With a `teacher`
    ours learns what it sees as well as the labels. `begin` names shipped weights to begin with where there is no
    checkpoint yet, at a lower rate: of this `size`, or of nano, which a larger network takes over.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    run.mkdir(parents=True, exist_ok=True)
    # On a CPU this order of memory makes a step a quarter faster.
    network = DetectorNet(size)
    rate_most = RATE if begin is None else WARM_RATE
    if begin is not None and begin.name.endswith(size):
        load_network(network, begin)
    elif begin is not None:
        narrow = DetectorNet()
        load_network(narrow, begin)
        widen(network, narrow)
    network.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(network).eval()
    distillation = Distillation(network.neck_channels)
    learned = [*network.parameters(), *(distillation.parameters() if teacher else ())]
    decayed = [p for p in learned if p.ndim > 1]
    plain = [p for p in learned if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate_most)
    loss_of = DetectionLoss()
    parts = {"network": network, "averaged": averaged, "distillation": distillation, "optimizer": optimizer}
    checkpoint = run / "checkpoint.pt"
    spent_s, step = 0.0, 0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        spent_s, step = saved["spent_s"], saved["step"]
    half = trains_in_half()
    rng = np.random.default_rng(seed + step)
    began, saved_at = time.process_time(), time.monotonic()
    sums: dict[str, float] = {}
    while (spent := spent_s + time.process_time() - began) < minutes * 60:
        progress = spent / (minutes * 60)
        rate = (FINAL_RATE + (rate_most - FINAL_RATE) * (1 + math.cos(math.pi * progress)) / 2) * min(
            1.0, (step + 1) / WARMUP_STEPS
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        side = int(rng.choice(SIDES))
        mosaic = 0.0 if progress > 1 - CALM_SHARE else 0.6
        batch = [augment(samples, int(i), side, rng, mosaic=mosaic) for i in rng.integers(len(samples), size=BATCH)]
        pictures = [one.image for one in batch]
        images = torch.from_numpy(normalize_batch(pictures))
        images = images.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            neck = network.train().see(images)
            points = network.read(neck)
        loss, shares = loss_of(points.float(), side, *_padded(batch))
        if teacher:
            taught, said = distillation(points.float(), neck, teacher(np.stack(pictures)), side)
            loss, shares = loss + taught, shares | said
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 10.0)
        optimizer.step()
        step += 1
        follow(averaged, network, min(AVERAGE, (1 + step) / (20 + step)))
        for name, value in {**shares, "loss": loss.item()}.items():
            sums[name] = sums.get(name, 0.0) + value
        if step % LOG_EVERY == 0:
            line = {
                "step": step,
                "epoch": round(step * BATCH / len(samples), 2),
                "minutes": round(spent / 60, 1),
                "rate": rate,
            }
            line |= {name: round(value / LOG_EVERY, 4) for name, value in sums.items()}
            say(run / "log.jsonl", **line)
            sums = {}
        if time.monotonic() - saved_at > CHECKPOINT_S:
            _save(checkpoint, parts, spent_s + time.process_time() - began, step)
            saved_at = time.monotonic()
    _save(checkpoint, parts, spent_s + time.process_time() - began, step)
    return checkpoint


def _padded(batch: list[Sample]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    most = max(1, *(len(one.boxes) for one in batch))
    boxes = np.zeros((len(batch), most, 4), np.float32)
    classes = np.zeros((len(batch), most), np.int64)
    marks = np.full((len(batch), most, 5, 2), np.nan, np.float32)
    state = np.full((len(batch), most), -1, np.int64)
    for index, one in enumerate(batch):
        count = len(one.boxes)
        boxes[index, :count], classes[index, :count] = one.boxes, one.classes
        marks[index, :count], state[index, :count] = one.landmarks, one.judged
    return torch.from_numpy(boxes), torch.from_numpy(classes), torch.from_numpy(marks), torch.from_numpy(state)


def _save(path: Path, parts: Mapping[str, Any], spent_s: float, step: int) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    write_checkpoint(path, {**state, "spent_s": spent_s, "step": step})
