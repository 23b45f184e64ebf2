"""A trial of site adaptation on people whom the shipped network never saw.

Of the development split's 120 held-out identities 60 are the site's people, whom the network may learn from without
their labels, and 60 are judged by the Market protocol: other people of the site, by the same cameras. The site looks
as Market-1501 does, or `dim`: each camera with a light, a colour cast, a sharpness and a noise of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.engine import EngineConfig
from models.reid.network import EmbedderNet
from models.reid.spec import REID_NANO
from models.sites import next_network
from training.export import load_network
from training.reid.adaptation import adapt_site, mixed
from training.reid.adapter import AdaptConfig, Adapted, adapt, embed_crops
from training.reid.data import CropSet, development_split, read_crops
from training.reid.protocol import market_metrics, query_indices
from training.reid.site import SiteCrops

__all__ = ["LOOKS", "try_adapting"]

LOOKS = ("market", "dim")
SITE_IDENTITIES = 60
LOOK_SEED = 500


def try_adapting(
    data: Path, run: Path, look: str, config: AdaptConfig, *, known_people: bool = False
) -> dict[str, Any]:
    """Adapt to a site of that look; mAP and Rank-1 at the site and elsewhere, and the verdict.

    Before, as learned, and after: what was judged, whether it was accepted or not. `elsewhere` are the judged people
    as Market-1501 shows them. `known_people` takes 120 of the training identities in the place of the held-out ones:
    to choose by. Raises: FileNotFoundError, NoCropsError, what `adapt_site` raises.
    """
    known, held_out = development_split(read_crops(data, REID_NANO.input.size_wh))
    people = development_split(known, 2 * SITE_IDENTITIES)[1] if known_people else held_out
    seen = CropSet(people.names, _seen(people, look), people.identities, people.cameras)
    site, judged = development_split(seen, SITE_IDENTITIES)
    elsewhere = development_split(people, SITE_IDENTITIES)[1]
    pictures = SiteCrops(site.images, tuple(map(str, site.identities)), tuple(map(str, site.cameras)))
    new, engine = next_network(f"trial-{look}", run), EngineConfig(compiler="openvino", threads=config.threads)

    def tell(progress: float, row: dict[str, float]) -> None:
        (run / "progress.json").write_text(json.dumps({"progress": round(progress, 3), **row}), encoding="utf-8")

    run.mkdir(parents=True, exist_ok=True)
    learned: list[Adapted] = []

    def learn(*given: Any) -> Adapted:
        learned.append(adapt(*given))
        return learned[0]

    done = adapt_site(pictures, REID_NANO, new, config, engine, tell, learn=learn)
    network = mixed(load_network(EmbedderNet(), REID_NANO), learned[0].network, done.share)
    shipped = load_network(EmbedderNet(), REID_NANO)
    found: dict[str, Any] = {
        "look": look,
        "people": "known" if known_people else "held out",
        "network": done.network,
        "learned_from": done.learned_from,
        "steps": done.steps,
        "share": done.share,
        "rounds": [done.rounds[0], done.rounds[-1]],
        "verdict": done.verdict.described(),
    }
    for place, crops in (("site", judged), *((("elsewhere", elsewhere),) if look != LOOKS[0] else ())):
        for when, one in (("before", shipped), ("learned", learned[0].network), ("after", network)):
            found[f"{place}_{when}"] = _market(one, crops)
    return found


def _seen(crops: CropSet, look: str) -> NDArray[np.uint8]:
    if look == LOOKS[0]:
        return crops.images
    out = np.empty_like(crops.images)
    height, width = out.shape[1:3]
    for camera in np.unique(crops.cameras):
        generator = np.random.default_rng(LOOK_SEED + int(camera))
        gain, gamma, cast = generator.uniform(0.5, 0.9), generator.uniform(1.0, 1.35), generator.uniform(0.85, 1.12, 3)
        sharpness, noise = generator.uniform(0.5, 0.9), generator.uniform(1, 4)
        small_wh = (int(width * sharpness), int(height * sharpness))
        for row in np.flatnonzero(crops.cameras == camera):
            small = cv2.resize(crops.images[row], small_wh, interpolation=cv2.INTER_AREA)
            blurred = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
            lit = 255 * gain * cast * blurred**gamma + generator.normal(0, noise, blurred.shape)
            out[row] = lit.clip(0, 255).astype(np.uint8)
    return out


def _market(network: EmbedderNet, crops: CropSet) -> dict[str, float]:
    embeddings = embed_crops(network, crops.images)
    queries = query_indices(crops.names, crops.identities, crops.cameras)
    scores = market_metrics(embeddings, crops.identities, crops.cameras, queries)
    return {name: round(scores[name], 2) for name in ("mAP", "rank1", "queries")}
