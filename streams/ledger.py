"""Which offsets of a partition have ended: the arbiter of exactly once.

Records end out of order: a frame whose parts are still coming stays open while later frames of other streams end.
The committed position is the first offset that has not ended, and what has ended beyond it travels in the offset
commit's metadata, so that a successor does nothing twice and nothing waits for anything.

An offset that is no record (a transaction's marker, a compacted record) never arrives: whatever lies below the
position that was polled and is not open counts as ended.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import logging
import threading
import zlib
from collections.abc import Iterable, Sequence

__all__ = ["MAX_METADATA_BYTES", "LedgerBook", "PartitionLedger", "plain_metadata"]

log = logging.getLogger(__name__)

# The brokers' default of offset.metadata.max.bytes.
MAX_METADATA_BYTES = 4096
# "f1" marks runs, "b1" a bitmap; anything else in the metadata is somebody else's.
RUNS = "f1:"
BITMAP = "b1:"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
# One open offset costs two runs at most: itself ("1,") and what has ended after it (up to five digits and a comma).
RUN_BYTES = 8
MAX_OPEN = (MAX_METADATA_BYTES - len(RUNS)) // RUN_BYTES
# Offsets that a bitmap holds in the worst case: base64, and what deflate adds to what it can't compress.
MAX_WINDOW = ((MAX_METADATA_BYTES - len(BITMAP)) * 3 // 4 - 16) * 8
SHORT_BYTES = 256  # no bitmap is tried below it


class PartitionLedger:
    """The open offsets of one partition, between what is committed and what was polled.

    Not thread-safe: `LedgerBook` guards it.
    """

    def __init__(self, polled_to: int, ended: Iterable[tuple[int, int]] = ()):
        self._polled_to = polled_to
        self._open: dict[int, int] = {}  # offset -> append time, ms; insertion order is offset order
        self._ended_ahead = _merged(ended)  # runs (first, last) that ended before they were polled by this process

    @classmethod
    def restore(cls, position: int, metadata: str | None) -> PartitionLedger:
        """From an offset commit: its position and metadata. Metadata that is not ours means no holes."""
        return cls(position, _decode(position, plain_metadata(metadata)))

    @property
    def polled_to(self) -> int:
        """The offset after the last one that was polled."""
        return self._polled_to

    @property
    def position(self) -> int:
        """The first offset that has not ended: where a successor begins to read."""
        return next(iter(self._open), self._beyond_ended(self._polled_to))

    @property
    def open_count(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether the partition must pause: with more open offsets a commit's metadata may not hold them all.

        Either encoding suffices: runs while few are open, a bitmap while they lie close together. Half the window
        is left for what is under way when this turns true.
        """
        runs = len(self._open) + len(self._ended_ahead)
        return runs >= MAX_OPEN and self._polled_to - self.position >= MAX_WINDOW // 2

    @property
    def oldest_open_ms(self) -> int | None:
        """When the longest waiting open record was appended, ms since 1970 UTC."""
        return min(self._open.values(), default=None)

    def is_open(self, offset: int) -> bool:
        return offset in self._open

    def has_ended(self, offset: int) -> bool:
        return offset not in self._open and (offset < self._polled_to or self._has_ended_ahead(offset))

    def poll(self, offset: int, appended_at_ms: int) -> bool:
        """Note a polled record; False when it has ended already (a predecessor's work) or was polled before."""
        if offset < self._polled_to:
            return False
        self._polled_to = offset + 1
        if self._has_ended_ahead(offset):
            return False
        self._open[offset] = appended_at_ms
        return True

    def advance(self, polled_to: int) -> None:
        """Note the position after a poll, which passes over offsets that are no records."""
        self._polled_to = max(self._polled_to, polled_to)

    def end(self, offsets: Iterable[int]) -> None:
        """Strike off what has ended. Those that are not open are passed over."""
        for offset in offsets:
            self._open.pop(offset, None)

    def commit_after(self, ending: Iterable[int] = ()) -> tuple[int, str]:
        """The (position, metadata) to commit once `ending` have ended; changes nothing."""
        gone = set(ending)
        still_open = [offset for offset in self._open if offset not in gone]
        position = still_open[0] if still_open else self._beyond_ended(self._polled_to)
        ahead = [run for run in self._ended_ahead if run[1] >= max(position, self._polled_to)]
        return position, _encode(position, _merged(_gaps(position, still_open, self._polled_to) + ahead))

    def _has_ended_ahead(self, offset: int) -> bool:
        index = bisect.bisect_right(self._ended_ahead, (offset, 1 << 62)) - 1
        return index >= 0 and self._ended_ahead[index][0] <= offset <= self._ended_ahead[index][1]

    def _beyond_ended(self, offset: int) -> int:
        for first, last in self._ended_ahead:
            if first <= offset <= last:
                offset = last + 1
        return offset


class LedgerBook:
    """The ledgers of the partitions that this member owns, shared by consumer, publisher and health."""

    def __init__(self) -> None:
        self._ledgers: dict[tuple[str, int], PartitionLedger] = {}
        self._lock = threading.Lock()

    def assign(self, topic: str, partition: int, ledger: PartitionLedger) -> None:
        """Begin with a partition."""
        with self._lock:
            self._ledgers[topic, partition] = ledger

    def revoke(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Forget partitions: what is still open there belongs to the next owner."""
        with self._lock:
            for place in partitions:
                self._ledgers.pop(place, None)

    def polled(
        self, topic: str, partition: int, records: Sequence[tuple[int, int]], polled_to: int | None
    ) -> list[bool]:
        """Note polled (offset, append time ms); for each whether it is to be worked on."""
        with self._lock:
            ledger = self._ledgers.get((topic, partition))
            if ledger is None:
                return [False] * len(records)
            fresh = [ledger.poll(offset, appended_at_ms) for offset, appended_at_ms in records]
            if polled_to is not None:
                ledger.advance(polled_to)
            return fresh

    def is_open(self, topic: str, partition: int, offset: int) -> bool:
        """Whether an offset is this member's to end: owned, polled, not ended."""
        with self._lock:
            ledger = self._ledgers.get((topic, partition))
            return ledger is not None and ledger.is_open(offset)

    def commits_after(self, ending: dict[tuple[str, int], list[int]]) -> dict[tuple[str, int], tuple[int, str]]:
        """(topic, partition) -> (position, metadata) to commit once `ending` have ended; unowned ones are left out."""
        with self._lock:
            return {
                place: self._ledgers[place].commit_after(offsets)
                for place, offsets in ending.items()
                if place in self._ledgers
            }

    def end(self, ending: dict[tuple[str, int], list[int]]) -> None:
        """Strike off what was committed."""
        with self._lock:
            for place, offsets in ending.items():
                if place in self._ledgers:
                    self._ledgers[place].end(offsets)

    def full(self) -> set[tuple[str, int]]:
        """The partitions that must pause."""
        with self._lock:
            return {place for place, ledger in self._ledgers.items() if ledger.full}

    def progress(self) -> dict[tuple[str, int], tuple[int, int, int | None]]:
        """(topic, partition) -> (polled to, how many are open, when the oldest open one was appended, ms)."""
        with self._lock:
            return {
                place: (ledger.polled_to, ledger.open_count, ledger.oldest_open_ms)
                for place, ledger in self._ledgers.items()
            }


def _merged(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        elif first <= last:
            merged.append((first, last))
    return merged


def _encode(position: int, ended: Sequence[tuple[int, int]]) -> str:
    """Ended runs beyond `position` as alternating lengths (open, ended), or a bitmap where that is shorter."""
    if not ended:
        return ""
    lengths: list[int] = []
    at = position
    for first, last in ended:
        lengths += (first - at, last - first + 1)
        at = last + 1
    runs = RUNS + ",".join(_digits(length) for length in lengths)
    window = at - position
    if len(runs) <= SHORT_BYTES or window > MAX_WINDOW:
        return runs
    bitmap = bytearray((window + 7) // 8)
    for first, last in ended:
        for offset in range(first - position, last - position + 1):
            bitmap[offset >> 3] |= 1 << (offset & 7)
    packed = BITMAP + base64.b64encode(zlib.compress(bytes(bitmap), wbits=-15)).decode().rstrip("=")
    return min(runs, packed, key=len)


def plain_metadata(found: str | None) -> str:
    """A commit's metadata as it was given: confluent-kafka counts the zero in that ends a string in C."""
    return (found or "").rstrip("\0")


def _decode(position: int, metadata: str) -> list[tuple[int, int]]:
    try:
        if metadata.startswith(RUNS):
            return _decode_runs(position, metadata.removeprefix(RUNS))
        if metadata.startswith(BITMAP):
            return _decode_bitmap(position, metadata.removeprefix(BITMAP))
    except (ValueError, binascii.Error, zlib.error) as error:
        log.warning(
            "offset metadata %r can't be read (%s): what ended beyond %d is done again", metadata, error, position
        )
    return []


def _decode_runs(position: int, text: str) -> list[tuple[int, int]]:
    lengths = [int(part, 36) for part in text.split(",")]
    if len(lengths) % 2 or any(length < 0 for length in lengths):
        raise ValueError("expected pairs of lengths")
    ended = []
    at = position
    for still_open, done in zip(lengths[::2], lengths[1::2], strict=True):
        at += still_open
        ended.append((at, at + done - 1))
        at += done
    return ended


def _decode_bitmap(position: int, text: str) -> list[tuple[int, int]]:
    inflater = zlib.decompressobj(wbits=-15)
    bitmap = inflater.decompress(base64.b64decode(text + "=" * (-len(text) % 4), validate=True), MAX_WINDOW // 8)
    return _merged(
        (position + index, position + index)
        for index in range(len(bitmap) * 8)
        if bitmap[index >> 3] >> (index & 7) & 1
    )


def _gaps(position: int, still_open: Sequence[int], polled_to: int) -> list[tuple[int, int]]:
    ended = []
    at = position
    for offset in still_open:
        if offset > at:
            ended.append((at, offset - 1))
        at = offset + 1
    if polled_to > at:
        ended.append((at, polled_to - 1))
    return ended


def _digits(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
        if not number:
            return text
