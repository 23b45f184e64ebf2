"""A first pass over codes finds what looking at all finds, also after rows came and went."""

import numpy as np
import pytest

from gallery.codes import CodeBook, compiled
from gallery.search import LARGE, IdentityTable

DIMENSION = 128
COUNT = LARGE + 100


def unit(rng: np.random.Generator, rows: int) -> np.ndarray:
    drawn = rng.normal(size=(rows, DIMENSION)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def near(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """Other views: cosine about 0.8."""
    mixed = 0.8 * rows + 0.6 * unit(rng, len(rows))
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def rows(rng: np.random.Generator) -> np.ndarray:
    return unit(rng, COUNT)


@pytest.fixture
def table(rows: np.ndarray) -> IdentityTable:
    made = IdentityTable(DIMENSION)
    for number, row in enumerate(rows):
        made.put(f"p{number}", None, [("positive", row)])
    made.prepare(wait=True)
    assert made._positive._codes is not None
    return made


def test_the_nearest_is_found_with_its_exact_score(
    table: IdentityTable, rows: np.ndarray, rng: np.random.Generator
) -> None:
    queries = near(rng, rows[:200])
    quick, exact = table.rank(queries, 2), table.rank(queries, 2, exact=True)
    assert [best[0].identity_id for best in quick] == [f"p{n}" for n in range(200)]
    for one, other in zip(quick, exact, strict=True):
        assert one[0].score == pytest.approx(other[0].score, abs=1e-5)
        assert one[1].score <= other[1].score + 1e-5


def test_codes_follow_every_change(table: IdentityTable, rows: np.ndarray, rng: np.random.Generator) -> None:
    for number in range(0, 60, 2):
        table.remove(f"p{number}")
    added = unit(rng, 30)
    for number, row in enumerate(added):
        table.put(f"new{number}", None, [("positive", row)])
    found = table.rank(near(rng, rows[:60]), 1)
    assert [best[0].identity_id == f"p{n}" for n, best in enumerate(found)] == [n % 2 == 1 for n in range(60)]
    assert [best[0].identity_id for best in table.rank(near(rng, added), 1)] == [f"new{n}" for n in range(30)]
    matrix, codes = table._positive, table._positive._codes
    assert codes is not None
    for row in (0, 17, len(matrix) - 1):
        lane = codes._blocks[row // 64, :, row % 64]
        np.testing.assert_array_equal(lane, codes._encode(matrix.rows[row][None])[0])
    last = len(matrix)
    table.remove(f"p{COUNT - 1}")
    row = last - 1
    assert not codes._blocks[row // 64, :, row % 64].any()  # nobody who went stays, not as bits either


def test_where_all_that_codes_find_is_vetoed_all_rows_are_looked_at(rng: np.random.Generator) -> None:
    table = IdentityTable(DIMENSION)
    query = unit(rng, 1)[0]
    for number, row in enumerate(unit(rng, COUNT)):
        table.put(f"p{number}", None, [("positive", row)])
    for number in range(200):  # many who look like it and are noted not to be it
        view = near(rng, query[None])[0]
        table.put(f"not{number}", None, [("positive", view), ("negative", query)])
    table.prepare(wait=True)
    best = table.rank(query[None], 2)[0]
    assert [one.identity_id[0] for one in best] == ["p", "p"]
    assert best == table.rank(query[None], 2, exact=True)[0]


def test_few_rows_or_few_numbers_are_compared_all(rng: np.random.Generator) -> None:
    table = IdentityTable(16)
    for number in range(LARGE + 1):
        row = np.zeros(16, np.float32)
        row[number % 16] = 1
        table.put(str(number), None, [("positive", row)])
    table.prepare(wait=True)
    assert table._positive._codes is None


@pytest.mark.parametrize("dimension", [128, 500, 700])
def test_any_number_of_numbers_has_a_code(dimension: int) -> None:
    assert compiled(wait=True)
    rows = np.random.default_rng(0).normal(size=(300, dimension)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    codes = CodeBook(rows, 300)
    found = codes.nearest(rows[:5], rows)
    assert [int(best[0]) for best, _ in found] == list(range(5))
    assert all(scores[0] == pytest.approx(1, abs=1e-5) for _, scores in found)
