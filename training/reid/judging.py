"""Whether an adapted network may serve: better on a site's held-back people, and no worse on drawn figures.

No label of a person is read: people are the system's own knowledge (a gallery's identities, of which a track or an
operator said that they are one), and figures are drawn (`figures.py`). Needs no torch: what is judged are the engines
that would serve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.reid.figures import drawn_people
from training.reid.site import LEAST_PEOPLE, UNKNOWN, SiteCrops

__all__ = ["MOST_LOSS", "Embed", "Verdict", "figures_precision", "judge"]

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Crops uint8 [N, 128, 64, 3] BGR to embeddings [N, D], unit norm."""
LEAST_GAIN = 0.5
LEAST_CHANCE = 0.9
MOST_LOSS = 3.0
DRAWS = 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """mAP in percent, mean over people, of each network on each kind of pictures.

    `chance`: the share of draws of the held-back people, with replacement, in which the new network is ahead.
    `across_cameras`: whether only pictures of other cameras counted as found, as in the Market protocol; else there
    were too few people whom two had seen.
    """

    accepted: bool
    why: str
    site_before: float
    site_after: float
    chance: float
    people: int
    pictures: int
    across_cameras: bool
    figures_shipped: float
    figures_after: float

    def described(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def judge(held: SiteCrops, now: Embed, new: Embed, shipped: Embed) -> Verdict:
    """Compare the network that would serve with the one that does, on people held back.

    Figures are compared with those of the shipped network, so that many adaptations in a row cannot lose little by
    little what one may not lose at once.
    """
    across = sum(_has_cross_pair(held, person) for person in set(held.people)) >= LEAST_PEOPLE
    before, after = (_precisions(embed(held.images), held.people, held.cameras, across) for embed in (now, new))
    drawn_before, drawn_after = figures_precision(shipped), figures_precision(new)
    gains = 100 * np.array([after[person] - before[person] for person in sorted(before)])
    draws = np.random.default_rng(0).integers(0, len(gains), (DRAWS, len(gains)))
    chance = float((gains[draws].mean(axis=1) > 0).mean())
    site_before, site_after = (100 * float(np.mean(list(found.values()))) for found in (before, after))
    why = _why_not(site_before, site_after, chance, drawn_before, drawn_after)
    return Verdict(
        accepted=not why,
        why=why or f"mAP {site_after:.1f} % on people held back, {site_before:.1f} % before",
        site_before=round(site_before, 2),
        site_after=round(site_after, 2),
        chance=round(chance, 3),
        people=len(before),
        pictures=len(held),
        across_cameras=across,
        figures_shipped=round(drawn_before, 2),
        figures_after=round(drawn_after, 2),
    )


def figures_precision(embed: Embed) -> float:
    """mAP in percent on the drawn figures."""
    figures, numbers, places = drawn_people()
    people, cameras = tuple(map(str, numbers)), tuple(map(str, places))
    return 100 * float(np.mean(list(_precisions(embed(figures), people, cameras, True).values())))


def _why_not(site_before: float, site_after: float, chance: float, drawn_before: float, drawn_after: float) -> str:
    """What speaks against the new network; nothing where it may serve."""
    if site_after - site_before < LEAST_GAIN:
        return (
            f"it is not better on the site's people held back: mAP {site_after:.1f} %, {site_before:.1f} % before "
            f"({LEAST_GAIN:g} more is the least)"
        )
    if chance < LEAST_CHANCE:
        return (
            f"it may be better by chance: mAP {site_after:.1f} %, {site_before:.1f} % before, ahead in {chance:.0%} of "
            f"draws of the people held back ({LEAST_CHANCE:.0%} is the least)"
        )
    if drawn_before - drawn_after > MOST_LOSS:
        return (
            f"it has unlearned what is not of this site: mAP {drawn_after:.1f} % on drawn figures, {drawn_before:.1f} "
            f"% with the shipped network ({MOST_LOSS:g} less is the most)"
        )
    return ""


def _precisions(
    embeddings: NDArray[np.float32], people: tuple[str, ...], cameras: tuple[str, ...], across: bool
) -> dict[str, float]:
    """Average precision of each person's pictures among all others, meaned over his; people with a pair only.

    `across`: pictures of the same person by the same camera are left out, as in the Market protocol.
    """
    who, where = np.array(people), np.array(cameras)
    similarity = embeddings @ embeddings.T
    found: dict[str, list[float]] = {}
    for row in range(len(who)):
        left_out = np.arange(len(who)) == row
        if across:
            left_out |= (who == who[row]) & ((where == where[row]) | (where == UNKNOWN) | (where[row] == UNKNOWN))
        order = np.argsort(-similarity[row], kind="stable")
        hits = (who == who[row])[order][~left_out[order]]
        ranks = np.flatnonzero(hits) + 1
        if len(ranks):
            found.setdefault(people[row], []).append(float(np.mean(np.arange(1, len(ranks) + 1) / ranks)))
    return {person: float(np.mean(values)) for person, values in found.items()}


def _has_cross_pair(held: SiteCrops, person: str) -> bool:
    """Whether two cameras that are known have seen him."""
    seen = {camera for one, camera in zip(held.people, held.cameras, strict=True) if one == person}
    return len(seen - {UNKNOWN}) > 1
