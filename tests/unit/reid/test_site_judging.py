"""What is held back of a site, and which network may serve: told by embeddings whose order is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.reid.clusters import ALONE, centred, find_clusters
from training.reid.figures import drawn_people
from training.reid.judging import Embed, judge
from training.reid.site import UNKNOWN, NotEnoughToJudgeError, SiteCrops, hold_back, neighbours

PEOPLE, VIEWS = 60, 4


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def site(cameras: bool = True, people: int = PEOPLE) -> SiteCrops:
    """Pictures whose pixels hold the person's number; each person before two cameras, twice."""
    who = np.repeat(np.arange(people), VIEWS)
    images = np.zeros((len(who), 128, 64, 3), np.uint8)
    images[:, 0, 0, 0] = who
    where = tuple(f"cam-{view % 2}" if cameras else UNKNOWN for view in range(VIEWS)) * people
    return SiteCrops(images, tuple(f"id-{one}" for one in who), where)


def embedder(noise: float, figures_noise: float = 0.5, seed: int = 0) -> Embed:
    """Of a picture its person's direction with noise; figures are told by their count."""
    _, figures, _ = drawn_people()

    def embed(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        drawn = len(crops) == len(figures)
        who = figures if drawn else crops[:, 0, 0, 0].astype(int)
        directions = np.random.default_rng(5).normal(size=(200, 16))
        spread = np.random.default_rng(seed).normal(size=(len(crops), 16))
        return unit(directions[who] + (figures_noise if drawn else noise) * spread)

    return embed


def test_a_third_of_the_people_is_held_back_and_always_the_same() -> None:
    learned, held = hold_back(site())
    assert len(set(held.people)) == 20
    assert not set(held.people) & set(learned.people)
    assert len(learned) + len(held) == PEOPLE * VIEWS
    shuffled = site().take(np.random.default_rng(0).permutation(PEOPLE * VIEWS).tolist())
    assert set(hold_back(shuffled)[1].people) == set(held.people)
    grown = site(people=PEOPLE + 6)
    assert len(set(hold_back(grown)[1].people) & set(learned.people)) <= 4  # new people push few over the line


def test_as_many_neighbours_are_looked_at_as_people_have_pictures() -> None:
    assert neighbours(site()) == 2 * VIEWS
    assert neighbours(site().take(range(PEOPLE))) == 2 * VIEWS
    assert neighbours(SiteCrops(site().images[:40], ("ada",) * 40, ("door",) * 40)) == 20
    assert neighbours(SiteCrops(site().images[:2], (UNKNOWN,) * 2, (UNKNOWN,) * 2)) == 20


def test_nobody_is_judged_by_too_few() -> None:
    with pytest.raises(NotEnoughToJudgeError, match="36 people or more with two pictures each"):
        hold_back(site(people=30))
    nameless = SiteCrops(site().images, (UNKNOWN,) * PEOPLE * VIEWS, (UNKNOWN,) * PEOPLE * VIEWS)
    with pytest.raises(NotEnoughToJudgeError, match="got 0 and 240"):
        hold_back(nameless)


@pytest.mark.parametrize("cameras", [True, False])
def test_a_better_network_may_serve(cameras: bool) -> None:
    held = hold_back(site(cameras))[1]
    verdict = judge(held, embedder(1.5), embedder(0.8), embedder(1.5))
    assert verdict.accepted
    assert verdict.site_after > verdict.site_before + 5
    assert (verdict.people, verdict.across_cameras) == (20, cameras)
    assert f"{verdict.site_before:.1f} % before" in verdict.why


@pytest.mark.parametrize(
    ("now", "new", "said"),
    [
        (embedder(0.8), embedder(1.5), "not better on the site's people held back"),
        (embedder(0.8), embedder(0.8), "not better on the site's people held back"),
        (embedder(1.2), embedder(1.2, seed=2), "by chance"),
        (embedder(1.5), embedder(0.8, figures_noise=1.2), "unlearned what is not of this site"),
    ],
)
def test_others_are_refused_and_both_figures_said(now: Embed, new: Embed, said: str) -> None:
    held = hold_back(site())[1]
    verdict = judge(held, now, new, embedder(0.8))
    assert not verdict.accepted
    assert said in verdict.why
    figures = (verdict.figures_after, verdict.figures_shipped) if "unlearned" in said else (verdict.site_after,)
    assert all(f"{one:.1f}" in verdict.why for one in figures)


def test_only_other_cameras_count_where_enough_people_were_seen_by_two() -> None:
    held = hold_back(site())[1]

    def by_camera(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Finds a person in his own camera surely, in the other never."""
        embeddings = embedder(0.01)(crops)
        if len(crops) == len(held):
            embeddings[1::2] = -embeddings[1::2]
        return embeddings

    assert judge(held, by_camera, embedder(0.8), embedder(0.8)).site_before < 10
    within = SiteCrops(held.images, held.people, (UNKNOWN,) * len(held))
    assert judge(within, by_camera, embedder(0.8), embedder(0.8)).site_before > 30


def test_clusters_are_found_and_a_cameras_light_is_no_likeness() -> None:
    generator = np.random.default_rng(1)
    who, where = np.repeat(np.arange(15), 24), np.tile(np.arange(2), 180)
    light = 3 * generator.normal(size=(2, 128))
    rows = generator.normal(size=(15, 128))[who] + 0.6 * generator.normal(size=(360, 128))
    assert clusters_of(rows, who) == (15, 1.0)
    lit = unit(rows + light[where])
    assert clusters_of(lit, who)[0] > 15  # each person once a camera
    assert clusters_of(centred(lit, [f"cam-{one}" for one in where]), who) == (15, 1.0)
    assert (find_clusters(unit(rows)[:2], 0.7, 20) == ALONE).all()
    few = centred(lit, [f"cam-{one}" if row < 330 else f"cam-{row}" for row, one in enumerate(where)])
    np.testing.assert_allclose(np.linalg.norm(few, axis=1), 1, atol=1e-5)


def clusters_of(rows: NDArray[np.float64] | NDArray[np.float32], who: NDArray[np.int64]) -> tuple[int, float]:
    """How many, and the share of clusters that hold one person."""
    labels = find_clusters(unit(np.asarray(rows, np.float64)), 0.7, 12)
    found = [set(who[labels == one]) for one in range(labels.max() + 1)]
    return len(found), float(np.mean([len(one) == 1 for one in found]))


def test_figures_are_always_the_same_and_differ() -> None:
    first, people, cameras = drawn_people()
    again = drawn_people.__wrapped__()[0]
    np.testing.assert_array_equal(first, again)
    assert (first.shape, first.dtype) == ((360, 128, 64, 3), np.uint8)
    assert (len(set(people)), len(set(cameras))) == (60, 6)
    colours = first[:, 40:60, 24:40].reshape(60, 6, -1, 3).mean(axis=(1, 2))
    assert np.linalg.norm(colours[:, None] - colours[None], axis=2)[np.triu_indices(60, 1)].min() > 0.5
