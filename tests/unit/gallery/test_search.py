"""The table in memory ranks as a plain loop over all vectors does, whatever came and went before."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gallery.search import IdentityTable, VectorMatrix

DIMENSION = 16


def unit(rng: np.random.Generator, rows: int) -> np.ndarray:
    drawn = rng.normal(size=(rows, DIMENSION)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    steps=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4), st.integers(0, 2)), max_size=40),
)
def test_ranks_as_the_plain_loop(seed: int, steps: list[tuple[int, int, int]]) -> None:
    rng = np.random.default_rng(seed)
    table, plain = IdentityTable(DIMENSION), {}
    for who, positives, negatives in steps:
        name = f"id{who}"
        if positives + negatives == 0:
            table.remove(name)
            plain.pop(name, None)
            continue
        plain[name] = (unit(rng, positives), unit(rng, negatives))
        table.put(
            name, name.upper(), [("positive", v) for v in plain[name][0]] + [("negative", v) for v in plain[name][1]]
        )
    assert len(table) == len(plain)
    assert table.vectors == sum(len(p) + len(n) for p, n in plain.values())
    for query, found in zip(queries := unit(rng, 3), table.rank(queries, top=3), strict=True):
        expected = []
        for name, (positive, negative) in plain.items():
            score = max((float(v @ query) for v in positive), default=None)
            against = max((float(v @ query) for v in negative), default=-2.0)
            if score is not None and against < score:
                expected.append((score, name))
        expected.sort(reverse=True)
        assert [c.identity_id for c in found] == [name for _, name in expected[:3]]
        np.testing.assert_allclose([c.score for c in found], [s for s, _ in expected[:3]], atol=1e-5)
        assert all(c.name == c.identity_id.upper() for c in found)


def test_a_negative_as_near_as_the_best_positive_rules_an_identity_out() -> None:
    table = IdentityTable(DIMENSION)
    ada, bea = np.eye(DIMENSION, dtype=np.float32)[:2]
    table.put("ada", None, [("positive", ada), ("negative", bea)])
    assert [c.identity_id for c in table.rank(ada[None], 1)[0]] == ["ada"]
    assert table.rank(bea[None], 1) == [[]]


def test_the_matrix_grows_by_doubling_and_leaves_no_removed_vector_behind() -> None:
    matrix = VectorMatrix(4)
    for owner in range(200):
        matrix.add(owner, np.full(4, owner + 1, dtype=np.float32))
    assert matrix._rows.shape[0] == 256
    for owner in range(200):
        matrix.remove(owner)
    assert len(matrix) == 0
    assert not matrix._rows[:200].any()
