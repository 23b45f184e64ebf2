"""How the frames of one batch end, gathered while the batch goes through its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from actors.metrics import LoopStats
from streams.errors import RecordTooLargeError
from streams.messages import DropReason
from streams.outcomes import Dead, Drop, EndedBatch, ResultRecord, bury_frame, drop_frame
from streams.records import FrameRecord, GBufferRecord

__all__ = ["Endings", "isolate"]

Frame = FrameRecord | GBufferRecord
Item = TypeVar("Item")
Output = TypeVar("Output")


class Endings:
    """A batch's results, drops and dead letters; `build` seals it for the publisher."""

    def __init__(self, check: Callable[[ResultRecord], None]) -> None:
        """`check` raises RecordTooLargeError for a result that its topic does not take: its frame is buried then."""
        self._check = check
        self._results: list[ResultRecord] = []
        self._drops: list[Drop] = []
        self._dead: list[Dead] = []
        self._appended_at_ms: list[int] = []
        self._counts: Counter[tuple[str, str]] = Counter()

    @property
    def empty(self) -> bool:
        """Whether nothing has ended."""
        return not (self._results or self._drops or self._dead)

    def result(self, frame: Frame, records: Sequence[ResultRecord]) -> None:
        """The frame was answered, by one record for each topic that was asked for."""
        try:
            for record in records:
                self._check(record)
        except RecordTooLargeError as error:
            self.bury(frame, error)
            return
        self._results.extend(records)
        self._appended_at_ms.append(frame.appended_at_ms)
        self._counts["result", ""] += 1

    def drop(self, frame: Frame, reason: DropReason, now_ms: int) -> None:
        """The frame is sound, and is let go."""
        self._drops.extend(drop_frame(frame, reason, now_ms))
        self._counts["drop", str(reason)] += 1

    def bury(self, frame: Frame, error: Exception) -> None:
        """The frame cannot be worked on; its neighbours go on."""
        self._dead.extend(bury_frame(frame, error))
        self._counts["deadletter", type(error).__name__] += 1

    def extend(self, drops: Sequence[Drop] = (), dead: Sequence[Dead] = ()) -> None:
        """Take over what the intake decided by itself."""
        self._drops.extend(drops)
        self._dead.extend(dead)
        self._counts.update(("drop", str(drop.reason)) for drop in drops)
        self._counts.update(("deadletter", one.error) for one in dead)

    def build(self, stats: LoopStats, now_ms: int) -> EndedBatch:
        """Seal it and count it."""
        for (outcome, reason), count in self._counts.items():
            stats.ended(outcome, reason, count)
        stats.latencies((now_ms - appended_at_ms) / 1000 for appended_at_ms in self._appended_at_ms)
        return EndedBatch(tuple(self._results), tuple(self._drops), tuple(self._dead))


def isolate(call: Callable[[Sequence[Item]], Sequence[Output]], items: Sequence[Item]) -> list[Output | Exception]:
    """Run a batch; if it fails, halve it until only the culprits are left.

    Returns one entry an item, in order: its output, or the exception that it caused alone. Costs nothing where
    nothing fails, and 2 log2 N further runs for one culprit among N.
    """
    if not items:
        return []
    try:
        return list(call(items))
    except Exception as error:  # noqa: BLE001 whatever a network or a decoder raises belongs to the item, not the actor
        if len(items) == 1:
            return [error]
    half = len(items) // 2
    return isolate(call, items[:half]) + isolate(call, items[half:])
