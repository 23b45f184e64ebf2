"""Which vectors stay."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gallery.selection import select


def test_a_repeat_goes_before_a_poor_but_different_one() -> None:
    rows = np.eye(4, dtype=np.float32)
    repeat = (rows[0] + 0.05 * rows[3]) / np.linalg.norm(rows[0] + 0.05 * rows[3])
    given_rows = np.stack([rows[0], rows[1], repeat, rows[2]])
    assert select(given_rows, np.array([0.9, 0.9, 0.9, 0.4]), 3) == [1, 2, 3]  # of two alike the newer stays
    assert select(given_rows, np.array([1.0, 0.9, 0.9, 0.4]), 3) == [0, 1, 3]  # or the better


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 12))
def test_the_best_stays_and_the_bound_holds(seed: int, count: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    quality = rng.random(count)
    kept = select(rows, quality, limit)
    assert len(kept) == min(count, limit)
    assert int(quality.argmax()) in kept
    assert kept == sorted(set(kept))
