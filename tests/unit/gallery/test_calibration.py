"""Thresholds hold what they promise on strangers whom the calibration never saw."""

import numpy as np
import pytest

from gallery.calibration import calibrate
from gallery.errors import CalibrationError
from gallery.schema import Calibration, Candidate, Match
from gallery.scores import ScoreWindow, drift

DIMENSION = 24


def people(seed: int, count: int, views: int, spread: float = 0.45) -> tuple[np.ndarray, np.ndarray]:
    """Views around a middle for each identity, on the sphere."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(count, 1, DIMENSION))
    middles /= np.linalg.norm(middles, axis=2, keepdims=True)
    seen = middles + spread * rng.normal(size=(count, views, DIMENSION)) / np.sqrt(DIMENSION)
    seen /= np.linalg.norm(seen, axis=2, keepdims=True)
    return seen.reshape(-1, DIMENSION).astype(np.float32), np.repeat(np.arange(count), views)


@pytest.mark.parametrize(("fpir", "method"), [(0.1, "quantile"), (0.02, "quantile"), (0.005, "tail")])
def test_the_named_share_of_new_strangers_is_let_through(fpir: float, method: str) -> None:
    rows, owners = people(1, 300, 4)
    found = calibrate(rows, owners, fpir)
    assert (found.method, found.identities) == (method, 300)
    strangers, _ = people(2, 20_000, 1)
    taken = float(((strangers @ rows.T).max(axis=1) >= found.threshold).mean())
    assert fpir / 2.5 <= taken <= fpir * 1.6
    assert found.missed is not None
    assert found.missed < 0.5


def test_the_share_holds_for_searches_by_the_mean_of_a_track() -> None:
    def alike(rows: np.ndarray) -> np.ndarray:
        """As people are: all have something in common, which their mean has more of than a single view."""
        leaning = rows + np.eye(DIMENSION, dtype=np.float32)[0]
        return leaning / np.linalg.norm(leaning, axis=-1, keepdims=True)

    rows, owners = people(1, 300, 4, spread=1.2)
    rows = alike(rows)
    found = calibrate(rows, owners, 0.1)
    strangers = alike(people(2, 3_000, 3, spread=1.2)[0]).reshape(3_000, 3, DIMENSION)
    means = strangers.mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    by_track, by_view = (((some @ rows.T).max(axis=1) >= found.threshold).mean() for some in (means, strangers[:, 0]))
    assert by_track == pytest.approx(0.1, abs=0.04)
    assert by_view < 0.7 * by_track


def test_strangers_may_be_given() -> None:
    rows, owners = people(1, 300, 1)
    strangers, _ = people(3, 2_000, 1)
    found = calibrate(rows, owners, 0.05, strangers=strangers)
    assert (found.stranger_searches, found.known_searches, found.missed, found.weights) == (2_000, 0, None, None)
    share = ((strangers @ rows.T).max(axis=1) >= found.threshold).mean()
    assert share == pytest.approx(0.05, abs=0.002)


def test_the_probability_is_what_it_says_on_unseen_searches() -> None:
    again, who = people(1, 300, 5, spread=0.9)
    held_back = np.arange(len(again)) % 5 == 4
    gallery, gallery_of = again[~held_back], who[~held_back]
    found = calibrate(gallery, gallery_of, 0.05)
    known, known_of = again[held_back], who[held_back]
    strangers, _ = people(4, 300, 1, spread=0.9)
    said, right = [], []
    for query, of in [*zip(known, known_of, strict=True), *((s, -1) for s in strangers)]:
        scores = gallery @ query
        best = int(scores.argmax())
        margin = float(scores[best] - scores[gallery_of != gallery_of[best]].max())
        said.append(found.probability(float(scores[best]), margin))
        right.append(gallery_of[best] == of)
    said_of, was = np.array(said, float), np.array(right, float)
    bins = np.digitize(said_of, [0.2, 0.4, 0.6, 0.8])
    error = sum(abs(said_of[bins == b].mean() - was[bins == b].mean()) * (bins == b).mean() for b in set(bins))
    assert error < 0.08  # expected calibration error
    assert said_of[was == 1].mean() > said_of[was == 0].mean() + 0.3


def test_too_little_is_refused_by_name() -> None:
    rows, owners = people(1, 10, 2)
    with pytest.raises(CalibrationError, match="30 searches or more"):
        calibrate(rows, owners, 0.1)
    with pytest.raises(CalibrationError, match="fpir"):
        calibrate(*people(1, 100, 2), 0.0)
    with pytest.raises(CalibrationError, match="two identities"):
        calibrate(people(1, 1, 50)[0], np.zeros(50, np.int64), 0.1)  # one identity: nobody else to be taken for


def test_a_match_carries_score_margin_and_probability() -> None:
    calibration = Calibration(
        fpir=0.01,
        threshold=0.5,
        method="tail",
        identities=2,
        stranger_searches=40,
        known_searches=20,
        missed=0.1,
        weights=(-5.0, 10.0, 2.0),
    )
    match = Match.decide([Candidate("a", "Ada", 0.8), Candidate("b", None, 0.3)], 0.5, calibration)
    assert (match.status, match.score, match.margin) == ("known", 0.8, 0.5)
    assert match.probability == pytest.approx(1 / (1 + np.exp(-4.0)))
    assert Match.decide([Candidate("a", "Ada", 0.8)], 0.9).probability is None


def test_drift_tells_other_scores_from_the_same() -> None:
    rng = np.random.default_rng(0)
    windows = [ScoreWindow() for _ in range(3)]
    for window, middle in zip(windows, (0.6, 0.6, 0.4), strict=True):
        window.add(rng.normal(middle, 0.1, 3_000))
    same, other = drift(windows[1].counts, windows[0].counts), drift(windows[2].counts, windows[0].counts)
    assert same is not None
    assert other is not None
    assert same < 0.05 < 0.5 < other
    assert drift(ScoreWindow().counts, windows[0].counts) is None
    windows[0].add(np.full(100_000, 0.1))
    assert windows[0].counts.sum() <= 4_000 + 100_000  # halved, and the new ones rule
    assert windows[0].added == 103_000
