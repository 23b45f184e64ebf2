"""Learn to read words off a trained network's embeddings: attributes, and phrases aligned with pictures.

MP-ReID, AAAI 2024, section "Cross-Modal Alignment" (contrastive both ways, written and learned prompts); Zhao et al.,
AAAI 2024, section "Multi-Modal Uncertainty Modeling" (a picture is drawn from the Gaussian of its identity's spread).
Only the 480 training identities are read; nothing was chosen by the other 120.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.numpy import save as save_safetensors
from torch import Tensor, nn

from models.reid.attributes import LABELS
from models.reid.graph_network import label_counts
from models.reid.network import EMBEDDING_DIM, EmbedderNet
from models.reid.prompts import SAYINGS, TEMPLATES
from models.reid.spec import REID_NANO
from models.reid.text import TEXT_DIM, TextEncoder
from models.reid.words import SHARPNESS, words_paths
from models.weights import round_to_8_bits, sha256_of
from training.reid.attributes import label_rows, read_attributes, said_in_a_question
from training.reid.augment import augment_crops, normalize_crops
from training.reid.data import CropSet, development_split, read_crops
from training.reid.losses import attribute_loss
from training.reid.prompt import PromptedEncoder

__all__ = ["WordsConfig", "WordsLearner", "export_words", "learn"]

SHARED_DIM = 128
VIEWS = 3  # of each crop: itself, and two augmented
CONTEXT = "a picture of somebody with"


@dataclass(frozen=True, slots=True)
class WordsConfig:
    """Steps of the three stages: attributes, alignment, the learned prompt."""

    reader_steps: int = 1500
    align_steps: int = 2000
    prompt_steps: int = 60
    people: int = 96
    seed: int = 3
    threads: int = 1
    """More wait for each other where the machine is busy: minutes become hours."""


class WordsLearner:
    """Embeddings with their labels, and draws from them."""

    def __init__(self, embeddings: Tensor, identities: NDArray[np.int64], told: Tensor, config: WordsConfig) -> None:
        """`embeddings` [views, N, 512]."""
        self.embeddings, self.told, self.config = embeddings, told, config
        self.rows = [torch.from_numpy(np.flatnonzero(identities == one)) for one in np.unique(identities)]
        centred = [embeddings[0, rows] - embeddings[0, rows].mean(dim=0) for rows in self.rows]
        self.spread = torch.cat(centred).std(dim=0)
        self.held = torch.from_numpy(label_rows(told.numpy())).float()
        self.said = torch.tensor([float(said_in_a_question(label.name)) for label in LABELS])
        self._generator = torch.Generator().manual_seed(config.seed)

    def draw(self) -> tuple[Tensor, Tensor]:
        """A crop each of some people, as a draw from its Gaussian: embeddings [B, 512] and row numbers [B]."""
        chosen = torch.randperm(len(self.rows), generator=self._generator)[: self.config.people].tolist()
        rows = torch.stack([self.rows[one][self._below(len(self.rows[one]))] for one in chosen])
        views = torch.randint(len(self.embeddings), (len(rows),), generator=self._generator)
        noise = torch.randn(len(rows), EMBEDDING_DIM, generator=self._generator) * self.spread
        return F.normalize(self.embeddings[views, rows] + noise, dim=1), rows

    def questions(self, rows: Tensor) -> Tensor:
        """What one might say of these crops: some of their labels, 1 where said [B, 41]."""
        share = torch.rand(len(rows), 1, generator=self._generator) * 0.7 + 0.3
        return self.held[rows] * self.said * (torch.rand(len(rows), len(LABELS), generator=self._generator) < share)

    def one_of(self, sentences: Tensor) -> Tensor:
        """A random sentence of each label: [labels, K, 384] padded with rows of 0 -> [labels, 384]."""
        counts = (sentences.abs().sum(dim=2) > 0).sum(dim=1)
        places = (torch.rand(len(counts), generator=self._generator) * counts).long()
        return sentences[torch.arange(len(counts)), places]

    def _below(self, count: int) -> int:
        return int(torch.randint(count, (1,), generator=self._generator))


class _Aligned(nn.Module):
    """Phrases [L, 384] and embeddings [N, 512] to logits [N, L]."""

    def __init__(self) -> None:
        super().__init__()
        self.text = nn.Linear(TEXT_DIM, SHARED_DIM, bias=False)
        self.image = nn.Linear(EMBEDDING_DIM, SHARED_DIM, bias=False)
        self.offset = nn.Linear(TEXT_DIM, 1)
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, embeddings: Tensor, phrases: Tensor) -> Tensor:
        likeness = self.image(embeddings) @ self.text(phrases).T
        return float(SHARPNESS) * self.scale.exp() * likeness + self.offset(phrases).T


def export_words(run: Path, data: Path, attributes: Path, config: WordsConfig | None = None) -> dict[str, float]:
    """Learn on the checkpoint of `run` and write the weights beside the network's; returns the last losses.

    Raises: FileNotFoundError, NoCropsError, TextEncoderMissingError.
    """
    config = config or WordsConfig()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    crops, _ = development_split(read_crops(data))
    told = read_attributes(attributes, crops.identities)
    crops, told = crops.take((told >= 0).all(axis=1)), told[(told >= 0).all(axis=1)]
    network = EmbedderNet().eval()
    network.load_state_dict(torch.load(run / "checkpoint.pt", weights_only=True)["average"])
    views = _embed(network, crops, config.seed)
    state, losses = learn(WordsLearner(views, crops.identities, torch.from_numpy(told), config), TextEncoder())
    weights = save_safetensors(at_rest(state))
    path, record = words_paths()
    path.write_bytes(weights)
    rounded = {name: round(value, 4) for name, value in losses.items()}
    said = {
        "weights": {"sha256": sha256_of((weights,)), "bytes": len(weights)},
        "embeddings": REID_NANO.stem,
        "training": asdict(config) | rounded,
    }
    record.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return rounded


def at_rest(state: dict[str, NDArray[np.float16]]) -> dict[str, NDArray[Any]]:
    """Matrices as 8 bits, which halves the file."""
    stored: dict[str, NDArray[Any]] = {}
    for name, values in state.items():
        stored |= round_to_8_bits(name, values.astype(np.float32)) if values.ndim > 1 else {name: values}
    return stored


def learn(learner: WordsLearner, encoder: TextEncoder) -> tuple[dict[str, NDArray[np.float16]], dict[str, float]]:
    """The three stages; returns what ships and the last losses."""
    config = learner.config
    reader, aligned = nn.Linear(EMBEDDING_DIM, len(LABELS)), _Aligned()
    longest = max(len(sayings) for sayings in SAYINGS) * len(TEMPLATES)
    bank = torch.zeros(len(LABELS), longest, TEXT_DIM)
    plain = []
    for label, sayings in enumerate(SAYINGS):
        vectors = torch.from_numpy(encoder.encode([form.format(one) for one in sayings for form in TEMPLATES]))
        bank[label, : len(vectors)] = vectors
        plain.append(vectors[:: len(TEMPLATES)])  # the first template adds nothing

    def read() -> Tensor:
        embeddings, rows = learner.draw()
        return attribute_loss(reader(float(SHARPNESS) * embeddings), learner.told[rows])

    def align() -> Tensor:
        return _alignment(learner, aligned, learner.one_of(bank))

    losses = {"attributes": _descend(reader, read, config.reader_steps, 3e-3)}
    losses["alignment"] = _descend(aligned, align, config.align_steps, 2e-3)
    prompted = PromptedEncoder(encoder, [label.phrase for label in LABELS])
    context = nn.Parameter(prompted.words(encoder, CONTEXT))
    learned = nn.ParameterList([context])
    losses["prompt"] = _descend(
        learned, lambda: _alignment(learner, aligned, prompted(context)), config.prompt_steps, 3e-3
    )
    own = bank[:, : len(TEMPLATES)]  # each label's own phrase in every template
    labels = torch.cat((own, prompted(context)[:, None]), dim=1).transpose(0, 1)
    kept = {f"reader.{name}": value for name, value in reader.state_dict().items()} | aligned.state_dict()
    kept |= {"context": context, "labels": labels, "sayings": torch.cat(plain), "spread": learner.spread}
    return {name: value.detach().contiguous().numpy().astype(np.float16) for name, value in kept.items()}, losses


def _alignment(learner: WordsLearner, aligned: _Aligned, phrases: Tensor) -> Tensor:
    """The labels told apart by their phrases, and questions and pictures found by each other."""
    embeddings, rows = learner.draw()
    logits = aligned(embeddings, phrases)
    told = attribute_loss(logits, learner.told[rows])
    fits = torch.cat([one.log_softmax(dim=1) for one in logits.split(label_counts(), dim=1)], dim=1)
    asked = learner.questions(rows)
    likely = asked @ fits.T / asked.sum(dim=1, keepdim=True).clamp(min=1).sqrt()
    true = ((asked @ learner.held[rows].T) >= asked.sum(dim=1, keepdim=True)).float()
    by_text = -(true / true.sum(dim=1, keepdim=True) * likely.log_softmax(dim=1)).sum(dim=1).mean()
    by_picture = -(true / true.sum(dim=0, keepdim=True) * likely.log_softmax(dim=0)).sum(dim=0).mean()
    return told + by_text + 0.5 * by_picture


def _descend(module: nn.Module, loss_of: Callable[[], Tensor], steps: int, rate: float) -> float:
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.01)
    last = 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        loss = loss_of()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        last = 0.98 * last + 0.02 * loss.item() if step else loss.item()
    return last


@torch.no_grad()
def _embed(network: EmbedderNet, crops: CropSet, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    images = torch.from_numpy(crops.images)
    size = (images.shape[1], images.shape[2])
    views = []
    for view in range(VIEWS):
        rows = []
        for start in range(0, len(images), 64):
            some = images[start : start + 64]
            inputs = augment_crops(some, size, generator) if view else normalize_crops(some)
            rows.append(network(inputs.to(memory_format=torch.channels_last)))
        views.append(torch.cat(rows))
    return torch.stack(views)
