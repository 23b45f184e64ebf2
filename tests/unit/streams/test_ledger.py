"""The ledger against a plain model: sets of offsets."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ledger import MAX_METADATA_BYTES, MAX_WINDOW, LedgerBook, PartitionLedger


def _polled(start: int, offsets: list[int]) -> PartitionLedger:
    ledger = PartitionLedger(start)
    for offset in offsets:
        assert ledger.poll(offset, 1000 + offset)
    return ledger


def _reread(position: int, metadata: str, offsets: list[int]) -> set[int]:
    """What a successor works on of `offsets`, reading from the committed position."""
    successor = PartitionLedger.restore(position, metadata)
    return {offset for offset in offsets if offset >= position and successor.poll(offset, 0)}


def test_the_position_is_the_first_offset_that_has_not_ended() -> None:
    ledger = _polled(10, [10, 11, 12, 13])
    assert ledger.position == 10
    ledger.end([11, 13])
    assert ledger.commit_after() == (10, "f1:1,1,1,1")
    ledger.end([10])
    assert ledger.position == 12
    ledger.end([12])
    assert (ledger.position, ledger.commit_after()) == (14, (14, ""))


def test_offsets_that_are_no_records_hold_nothing_up() -> None:
    ledger = _polled(0, [0, 1])
    ledger.advance(5)  # 2, 3 and 4 were markers
    ledger.end([0, 1])
    assert ledger.commit_after() == (5, "")
    assert ledger.poll(9, 0)  # 5 to 8 were compacted away
    assert ledger.commit_after() == (9, "")


def test_a_commit_is_planned_without_ending_anything() -> None:
    ledger = _polled(0, [0, 1, 2])
    assert ledger.commit_after([0, 1]) == (2, "")
    assert ledger.position == 0
    assert ledger.is_open(0)


def test_a_record_is_worked_on_once() -> None:
    ledger = _polled(0, [0, 1, 2])
    assert not ledger.poll(1, 0)
    ledger.end([1])
    assert not ledger.poll(1, 0)


def test_what_ended_ahead_survives_a_successor_that_ends_little() -> None:
    ledger = _polled(0, list(range(10)))
    position, metadata = ledger.commit_after([3, 4, 5, 8])
    successor = PartitionLedger.restore(position, metadata)
    assert successor.poll(0, 0)
    assert successor.poll(1, 0)
    position, metadata = successor.commit_after([0])
    assert position == 1
    assert _reread(position, metadata, list(range(10))) == {1, 2, 6, 7, 9}


@pytest.mark.parametrize("metadata", ["", "something else", "f1:", "f1:1", "f1:-1,2", "f1:x y,1", "b1:***", "b1:AAAA"])
def test_metadata_that_is_not_ours_means_no_holes(metadata: str) -> None:
    assert PartitionLedger.restore(7, metadata).commit_after() == (7, "")


@given(
    start=st.integers(0, 10**12),
    gaps=st.lists(st.integers(1, 5), max_size=120),
    data=st.data(),
)
def test_a_successor_does_what_is_open_and_nothing_else(start: int, gaps: list[int], data: st.DataObject) -> None:
    offsets = [start + sum(gaps[: index + 1]) for index in range(len(gaps))]
    ledger = _polled(start, offsets)
    ending = data.draw(st.lists(st.sampled_from(offsets), unique=True)) if offsets else []
    position, metadata = ledger.commit_after(ending)
    assert _reread(position, metadata, offsets) == set(offsets) - set(ending)
    assert all(offset in ending for offset in offsets if offset < position)
    ledger.end(ending)
    assert ledger.commit_after() == (position, metadata)


@given(data=st.data(), lives=st.integers(1, 5))
def test_over_several_lives_each_record_ends_once(data: st.DataObject, lives: int) -> None:
    offsets = sorted(data.draw(st.sets(st.integers(0, 200), min_size=1, max_size=80)))
    ended: list[int] = []
    position, metadata = 0, ""
    for _ in range(lives):
        ledger = PartitionLedger.restore(position, metadata)
        read_to = data.draw(st.integers(0, len(offsets)))
        fresh = [offset for offset in offsets[:read_to] if offset >= position and ledger.poll(offset, 0)]
        ending = data.draw(st.lists(st.sampled_from(fresh), unique=True)) if fresh else []
        ended += ending
        position, metadata = ledger.commit_after(ending)
    ended += [offset for offset in offsets if offset >= position and offset in _reread(position, metadata, offsets)]
    assert sorted(ended) == offsets


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1 << 32), share=st.sampled_from([0.02, 0.3, 0.5, 0.9]))
def test_a_commit_always_fits_until_the_ledger_says_full(seed: int, share: float) -> None:
    chance = random.Random(seed)
    ledger = PartitionLedger(0)
    offset = 0
    while not ledger.full and offset < MAX_WINDOW * 3:
        ledger.poll(offset, 0)
        if offset and chance.random() > share:
            ledger.end([offset])
        offset += 1
    for _ in range(256):  # what was under way when it turned full
        ledger.poll(offset, 0)
        offset += 1
    position, metadata = ledger.commit_after()
    assert len(metadata) <= MAX_METADATA_BYTES
    successor = PartitionLedger.restore(position, metadata)
    assert all(successor.poll(one, 0) == ledger.is_open(one) for one in range(position, offset))


def test_the_book_knows_only_what_is_owned() -> None:
    book = LedgerBook()
    assert book.polled("t", 0, [(0, 5)], 1) == [False]
    book.assign("t", 0, PartitionLedger(0))
    assert book.polled("t", 0, [(0, 5), (1, 6)], 4) == [True, True]
    assert book.is_open("t", 0, 1)
    assert book.progress() == {("t", 0): (4, 2, 5)}
    assert book.commits_after({("t", 0): [0], ("t", 1): [0]}) == {("t", 0): (1, "f1:1,2")}
    book.end({("t", 0): [0]})
    assert not book.is_open("t", 0, 0)
    book.revoke([("t", 0)])
    assert not book.is_open("t", 0, 1)
    assert book.full() == set()
