"""Fresh or stale: which frames of a batch are still worth working on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["Deadline", "Freshness", "Split", "wall_ms"]


class Freshness(Protocol):
    """The two settings of a stream's rule that decide it."""

    @property
    def freshness(self) -> str: ...
    @property
    def max_age_ms(self) -> int: ...


class Timed(Protocol):
    """A frame that knows when the broker appended it, milliseconds since 1970 UTC."""

    @property
    def appended_at_ms(self) -> int: ...
    @property
    def stream_id(self) -> str: ...


F = TypeVar("F", bound=Timed)


@dataclass(frozen=True, slots=True)
class Split(Generic[F]):
    """The frames of one batch, each list in the order of arrival: stale ones are always the oldest of their stream."""

    fresh: list[F]
    stale: list[F]


def wall_ms() -> int:
    """Now, milliseconds since 1970 UTC: the broker's clock and this one are compared, so both need NTP."""
    return time.time_ns() // 1_000_000


class Deadline:
    """Splits by age since the append. The producer's `captured-at` is not used: its clock may be anybody's."""

    def __init__(self, rule_of: Callable[[str], Freshness], clock_ms: Callable[[], int] = wall_ms) -> None:
        self._rule_of = rule_of
        self._clock_ms = clock_ms

    def split(self, frames: Sequence[F]) -> Split[F]:
        """Tell fresh from stale by each stream's own rule, all by one reading of the clock."""
        now_ms = self._clock_ms()
        fresh: list[F] = []
        stale: list[F] = []
        for frame in frames:
            rule = self._rule_of(frame.stream_id)
            late = rule.freshness == "latest" and now_ms - frame.appended_at_ms > rule.max_age_ms
            (stale if late else fresh).append(frame)
        return Split(fresh, stale)
