"""Expressions over a track: smoothed, raw left alone, one event a change with the time at which it began."""

import numpy as np
import pytest

from models.expression import EXPRESSIONS, Reading
from models.expression.postprocess import unreadable_reading
from models.expression.timeline import Change, ExpressionTimeline

FPS = 30


def reading(label: str, share: float = 0.8, uncertainty: float = 0.2) -> Reading:
    probabilities = np.full(7, (1 - share) / 6, np.float32)
    probabilities[EXPRESSIONS.index(label)] = share
    return Reading(probabilities, label, 0.5, -0.5, uncertainty)


def play(readings: list[Reading]) -> tuple[list[Reading | None], list[Change]]:
    timeline = ExpressionTimeline()
    said = [timeline.add(index / FPS, one) for index, one in enumerate(readings)]
    return [smoothed for smoothed, _ in said], [change for _, change in said if change is not None]


def test_a_lasting_change_is_one_event_with_the_time_it_began() -> None:
    _, changes = play([reading("neutral")] * 30 + [reading("surprise")] * 30)
    assert [(one.before, one.after) for one in changes] == [(None, "neutral"), ("neutral", "surprise")]
    assert changes[0].at_s == 0
    assert 1.0 < changes[1].at_s < 1.4


def test_flicker_is_no_event_but_stays_in_the_raw_readings() -> None:
    readings = [reading("neutral")] * 60
    for index in (20, 35, 36, 50):
        readings[index] = reading("fear")
    smoothed, changes = play(readings)
    assert [one.after for one in changes] == ["neutral"]
    assert {one.label for one in smoothed if one is not None} == {"neutral"}
    assert readings[35].label == "fear"


def test_a_smoothed_reading_is_a_distribution_between_the_raw_ones() -> None:
    smoothed, _ = play([reading("happy"), reading("sad")])
    last = smoothed[1]
    assert last is not None
    assert last.probabilities.sum() == pytest.approx(1)
    assert 0.03 < last.probabilities[EXPRESSIONS.index("happy")] < 0.8
    assert (last.valence, last.arousal) == pytest.approx((0.5, -0.5))


def test_an_unsure_reading_weighs_less() -> None:
    sure, _ = play([reading("happy", uncertainty=0.1), reading("sad", uncertainty=0.9)])
    unsure, _ = play([reading("happy", uncertainty=0.9), reading("sad", uncertainty=0.1)])
    assert sure[1] is not None
    assert unsure[1] is not None
    assert (sure[1].label, unsure[1].label) == ("happy", "sad")


def test_unreadable_frames_add_nothing_and_a_long_absence_is_forgotten() -> None:
    blind = unreadable_reading("too blurred")
    smoothed, changes = play([blind, *[reading("happy")] * 30, *[blind] * 20, *[blind] * 60, *[reading("sad")] * 30])
    assert smoothed[0] is None
    assert smoothed[40] is not None
    assert smoothed[40].label == "happy"
    assert smoothed[100] is None  # nothing readable for a second and a half
    assert [(one.before, one.after) for one in changes] == [(None, "happy"), (None, "sad")]
