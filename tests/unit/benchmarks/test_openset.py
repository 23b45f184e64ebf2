"""The open-set benchmark on people drawn at will: what is named is about what is let through."""

import numpy as np

from benchmarks.openset import FPIRS, judge


def test_a_split_is_judged_on_people_whom_the_calibration_never_saw() -> None:
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(120, 1, 24))
    views = middles + 0.4 * rng.normal(size=(120, 12, 24))
    vectors = (views / np.linalg.norm(views, axis=2, keepdims=True)).reshape(-1, 24).astype(np.float32)
    people, cameras = np.repeat(np.arange(120), 12), np.tile(np.repeat([1, 2, 3], 4), 120)
    splits = [judge(vectors, people, cameras, seed) for seed in range(4)]
    assert all(split["strangers"] == 60 * 12 for split in splits)
    assert all(split["known"] == 60 * 8 for split in splits)
    taken = [np.mean([split["taken"][named] for split in splits]) for named in FPIRS]
    assert taken == sorted(taken, reverse=True)
    assert 0.04 < taken[0] < 0.2  # 0.1 was named
    assert all(split["missed"][0.1] < 0.2 for split in splits)
    assert all(split["probability_error"] < 0.15 for split in splits)
    for named in FPIRS:  # the mean of several views is surer than one
        means = [np.mean([split[kind][named] for split in splits]) for kind in ("missed", "missed_by_track")]
        assert means[1] <= means[0]
