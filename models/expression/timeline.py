"""One face's expressions over time: smoothed readings, and changes as events instead of every frame's flicker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.expression.postprocess import Reading
from models.expression.spec import EXPRESSIONS

__all__ = ["Change", "ExpressionTimeline"]

MEMORY_S = 0.25
"""After so long a reading weighs 1/e of a new one."""
HOLD_S = 0.2
LEAD = 0.05
FORGOTTEN_S = 1.5
LEAST_WEIGHT = 0.02


@dataclass(frozen=True, slots=True)
class Change:
    """Another expression took the lead at `at_s` and kept it; `before` is None for a track's first."""

    at_s: float
    before: str | None
    after: str


class ExpressionTimeline:
    """The readings of one track. Surer readings weigh more, unreadable ones nothing.

    A change is reported once another expression has led the smoothed distribution by `lead` for `hold_s`, with the
    time at which it took the lead. After `FORGOTTEN_S` without a readable face the past is forgotten.
    """

    def __init__(self, *, memory_s: float = MEMORY_S, hold_s: float = HOLD_S, lead: float = LEAD) -> None:
        self._memory_s, self._hold_s, self._lead = memory_s, hold_s, lead
        self._sums: NDArray[np.float64] = np.zeros(len(EXPRESSIONS) + 3)  # and valence, arousal, uncertainty
        self._weight = 0.0
        self._last_s: float | None = None
        self._label: str | None = None
        self._leader: str | None = None
        self._led_from_s = 0.0

    @property
    def label(self) -> str | None:
        """The expression that the last change led to."""
        return self._label

    def add(self, time_s: float, reading: Reading) -> tuple[Reading | None, Change | None]:
        """The smoothed reading at this time (None before the first readable one), and the change that is now sure.

        Times rise; `reading` itself is left as it is.
        """
        if self._last_s is not None and time_s - self._last_s > self._forgotten_after_s:
            self._sums[:], self._weight, self._label, self._leader = 0, 0.0, None, None
            self._last_s = None
        if reading.unreadable is None:
            decay = 0.0 if self._last_s is None else float(np.exp(-(time_s - self._last_s) / self._memory_s))
            weight = max(LEAST_WEIGHT, 1 - reading.uncertainty)
            values = (*reading.probabilities, reading.valence, reading.arousal, reading.uncertainty)
            self._sums = self._sums * decay + weight * np.array(values, np.float64)
            self._weight = self._weight * decay + weight
            self._last_s = time_s
        if self._last_s is None:
            return None, None
        mean = self._sums / self._weight
        probabilities = mean[: len(EXPRESSIONS)]
        probabilities /= probabilities.sum()
        leader = EXPRESSIONS[int(probabilities.argmax())]
        valence, arousal, uncertainty = (float(value) for value in mean[len(EXPRESSIONS) :])
        smoothed = Reading(probabilities.astype(np.float32), leader, valence, arousal, uncertainty)
        return smoothed, self._change(time_s, leader, probabilities)

    @property
    def _forgotten_after_s(self) -> float:
        return max(FORGOTTEN_S, 2 * self._memory_s)

    def _change(self, time_s: float, leader: str, probabilities: NDArray[np.float64]) -> Change | None:
        ahead = self._label is None or (
            probabilities[EXPRESSIONS.index(leader)] - probabilities[EXPRESSIONS.index(self._label)] >= self._lead
        )
        if leader == self._label or not ahead:
            self._leader = None
            return None
        if leader != self._leader:
            self._leader, self._led_from_s = leader, time_s
        if time_s - self._led_from_s < self._hold_s:
            return None
        change = Change(self._led_from_s, self._label, leader)
        self._label, self._leader = leader, None
        return change
