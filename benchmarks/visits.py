"""Who is where in the clips, told by hand: `visits.json` has people's visits by clip, for `benchmarks.identities`.

A visit is a list of `[frame, left, top, right, bottom]`; between two of these the box is interpolated. Who is who was
decided by looking; most boxes are a detector's, the others were drawn. Only people who surely are different ones are
told of, in the frames in which they can be told: in the street many walk by in black, and some of them come back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["There", "Visits"]

FILE = Path(__file__).with_name("visits.json")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class There:
    """A person in a frame, and the number of his visit: another one each time that he comes into view."""

    person: str
    visit: int
    box_xyxy: Box


class Visits:
    """The visits of one clip."""

    def __init__(self, people: dict[str, list[list[list[float]]]]) -> None:
        self._people = {who: [np.array(visit, np.float64) for visit in visits] for who, visits in people.items()}

    @classmethod
    def of(cls, clip: str) -> Visits:
        """Those of the clip of that file name."""
        return cls(json.loads(FILE.read_text(encoding="utf-8"))[clip])

    def at(self, frame: int, *, play: int = 0) -> list[There]:
        """Who is there in a frame; `play` counts how often the clip was played before, which makes other visits."""
        return list(self._at(frame, play))

    def _at(self, frame: int, play: int) -> Iterable[There]:
        for who, visits in self._people.items():
            for number, visit in enumerate(visits):
                if visit[0, 0] <= frame <= visit[-1, 0]:
                    yield There(who, number + play * len(visits), _between(visit, frame))


def _between(visit: NDArray[np.float64], frame: int) -> Box:
    left, top, right, bottom = (float(np.interp(frame, visit[:, 0], visit[:, edge])) for edge in range(1, 5))
    return left, top, right, bottom
