"""From a site's pictures to a network that may serve there: hold back, learn, export, judge, and only then keep it.

What is judged lies between the network before and the one that has learned (Wortsman et al., CVPR 2022, section 3): so
near to the learned one as drawn figures allow.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.engine import EngineConfig, load_engine
from models.reid.embedder import Embedder
from models.reid.network import EmbedderNet
from models.reid.spec import REID_NANO
from models.spec import ModelSpec
from training.export import export, load_network
from training.ranges import batches_of, record_ranges
from training.reid.adapter import AdaptConfig, Adapted, adapt, embed_crops
from training.reid.judging import MOST_LOSS, Embed, Verdict, figures_precision, judge
from training.reid.site import SiteCrops, hold_back, neighbours

__all__ = ["Adaptation", "adapt_site", "mixed"]

Said = Callable[[float, dict[str, float]], None]
Learn = Callable[[EmbedderNet, NDArray[np.uint8], Sequence[str], AdaptConfig, Said], Adapted]
SHARES = (1.0, 0.75, 0.5, 0.25)


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What came of it. `network` is the new model epoch, None where the network was refused and nothing was kept."""

    network: str | None
    verdict: Verdict
    learned_from: int
    steps: int
    share: float
    """Of the learned weights in those that were judged."""
    rounds: tuple[dict[str, float], ...]


def adapt_site(
    site: SiteCrops,
    now: ModelSpec,
    new: ModelSpec,
    config: AdaptConfig,
    engine: EngineConfig,
    said: Said = lambda progress, row: None,
    *,
    learn: Learn = adapt,
) -> Adaptation:
    """Adapt the network `now` to a site; `new` says what it will be called and where it is kept, if it is better.

    Pictures stay in memory. Cut short, it leaves nothing. `learn` is how the network learns.
    Raises: NotEnoughToJudgeError and NoClustersError where the site's pictures are too few, and the errors of engines.
    """
    learned, held = hold_back(site)
    config = dataclasses.replace(config, near=neighbours(site))
    network = load_network(EmbedderNet(), now)
    adapted = learn(network, learned.images, learned.cameras, config, said)
    shipped = network if now.stem == REID_NANO.stem else load_network(EmbedderNet(), REID_NANO)
    share, drawn_back = _as_figures_allow(network, adapted.network, shipped)
    with tempfile.TemporaryDirectory() as folder:
        candidate = dataclasses.replace(new, folder=Path(folder))
        width, height = now.input.size_wh
        example = torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(0))
        told = {"from": now.stem, "pictures": len(learned), "steps": adapted.steps, "share": share}
        told |= {"config": asdict(config), "rounds": list(adapted.rounds)}
        export(drawn_back, candidate, [example], metrics={"adaptation": told})
        record_ranges(candidate, batches_of(learned.images))
        verdict = _judged(held, now, candidate, engine)
        if verdict.accepted:
            _keep(candidate, new, verdict)
    return Adaptation(
        network=new.stem if verdict.accepted else None,
        verdict=verdict,
        learned_from=len(learned),
        steps=adapted.steps,
        share=share,
        rounds=adapted.rounds,
    )


def mixed(before: EmbedderNet, learned: EmbedderNet, share: float) -> EmbedderNet:
    """A network of weights between two: `share` of the learned ones."""
    found, was = copy.deepcopy(learned), before.state_dict()
    found.load_state_dict(
        {
            name: torch.lerp(was[name], value, share) if value.dtype.is_floating_point else value
            for name, value in learned.state_dict().items()
        }
    )
    return found


def _as_figures_allow(before: EmbedderNet, learned: EmbedderNet, shipped: EmbedderNet) -> tuple[float, EmbedderNet]:
    """The largest share of the learned weights by which figures lose no more than they may, and the network of it."""
    least = figures_precision(functools.partial(embed_crops, shipped)) - MOST_LOSS
    for share in SHARES:
        network = mixed(before, learned, share)
        if figures_precision(functools.partial(embed_crops, network)) >= least:
            break
    return share, network


def _judged(held: SiteCrops, now: ModelSpec, candidate: ModelSpec, engine: EngineConfig) -> Verdict:
    """By the engines that serve; the candidate's is kept nowhere."""
    with ExitStack() as loaded:

        def embed_by(spec: ModelSpec) -> Embed:
            without_cache = engine.model_copy(update={"cache_dir": None})
            return Embedder(loaded.enter_context(load_engine(spec, without_cache, from_uint8=True)), spec).embed_crops

        serving = embed_by(now)
        shipped = serving if now.stem == REID_NANO.stem else embed_by(REID_NANO)
        return judge(held, serving, embed_by(candidate), shipped)


def _keep(candidate: ModelSpec, new: ModelSpec, verdict: Verdict) -> None:
    """With the verdict in its record, which is written last: a network is there if and only if its record is."""
    record = json.loads(candidate.record_path.read_text(encoding="utf-8"))
    record["metrics"]["adaptation"]["verdict"] = verdict.described()
    new.folder.mkdir(parents=True, exist_ok=True)
    for content, target in (
        (candidate.topology_path.read_bytes(), new.topology_path),
        (candidate.weights_path.read_bytes(), new.weights_path),
        ((json.dumps(record, indent=2, sort_keys=True) + "\n").encode(), new.record_path),
    ):
        part = target.with_name(target.name + ".part")
        part.write_bytes(content)
        os.replace(part, target)
