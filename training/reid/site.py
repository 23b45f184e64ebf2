"""A site's own pictures of people: learned from without a label, and a part held back to judge by. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NotEnoughToJudgeError", "SiteCrops", "hold_back", "neighbours"]

UNKNOWN = ""
HELD_BACK = 1 / 3
LEAST_PEOPLE = 12
"""Held back with two views or more: fewer cannot tell a better network from a worse one."""
LEAST_TO_LEARN = 100
FEWEST_NEAR, MOST_NEAR = 6, 20


class NotEnoughToJudgeError(ValueError):
    """A site has too few pictures, or too few people who were seen twice, to tell whether a network became better."""


@dataclass(frozen=True, slots=True)
class SiteCrops:
    """Pictures of people as one place sees them.

    `people` says who is known to be the same person: an identity of a gallery, a track; `UNKNOWN` where nothing is. It
    is for judging only. `cameras` says where, in the same way.
    Shapes: images uint8 [N, 128, 64, 3] BGR.
    """

    images: NDArray[np.uint8]
    people: tuple[str, ...]
    cameras: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Sequence[int]) -> SiteCrops:
        """Some of them."""
        people, cameras = tuple(self.people[row] for row in rows), tuple(self.cameras[row] for row in rows)
        return SiteCrops(self.images[list(rows)], people, cameras)


def hold_back(site: SiteCrops) -> tuple[SiteCrops, SiteCrops]:
    """What is learned from, and what is judged by: a third of the people with two views, always the same ones.

    They are those with the smallest sha256 of their ids, so that a second adaptation is judged by people whom the
    first did not learn from either. Raises: NotEnoughToJudgeError.
    """
    counts: dict[str, int] = {}
    for person in site.people:
        counts[person] = counts.get(person, 0) + 1
    seen_twice = sorted(
        (person for person, count in counts.items() if person != UNKNOWN and count > 1),
        key=lambda person: hashlib.sha256(person.encode()).hexdigest(),
    )
    held = set(seen_twice[: round(len(seen_twice) * HELD_BACK)])
    learned = [row for row, person in enumerate(site.people) if person not in held]
    judged = [row for row, person in enumerate(site.people) if person in held]
    if len(held) < LEAST_PEOPLE or len(learned) < LEAST_TO_LEARN:
        raise NotEnoughToJudgeError(
            f"adapting: expected {round(LEAST_PEOPLE / HELD_BACK)} people or more with two pictures each, a third of "
            f"whom are held back, and {LEAST_TO_LEARN} pictures beside these; got {len(seen_twice)} and "
            f"{len(learned)}; keep crops for longer (`foveal gallery crops`), or remember unknown people "
            "(`foveal gallery provisional`)"
        )
    return site.take(learned), site.take(judged)


def neighbours(site: SiteCrops) -> int:
    """How many neighbours of a picture to look at: about as many as a person has pictures, here twice the median.

    With too many, people of few pictures are taken together; 20 are those of Zhong et al., CVPR 2017.
    """
    counts = np.unique([person for person in site.people if person != UNKNOWN], return_counts=True)[1]
    return int(np.clip(2 * np.median(counts), FEWEST_NEAR, MOST_NEAR)) if len(counts) else MOST_NEAR
