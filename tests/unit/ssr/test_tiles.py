"""Frames that are larger than an engine: tiles cover them, and their seams do not show."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engine import EngineConfig, ShapeProfile, load_engine
from models.ssr import SSR, Reconstructor
from models.ssr.tiles import OVERLAP, largest_hw, spans


@given(blocks=st.integers(1, 400), limit=st.sampled_from([64, 256, 1000, 1920]))
def test_spans_cover_everything_and_overlap(blocks: int, limit: int) -> None:
    length = blocks * 16
    found = spans(length, limit)
    assert found[0].start == 0
    assert found[-1].stop == length
    assert all(part.stop - part.start <= limit and part.start % 16 == 0 for part in found)
    assert all(one.stop - two.start >= min(OVERLAP, limit // 2) - 16 for one, two in itertools.pairwise(found))


def test_tiles_give_the_picture_that_the_whole_gives(wall: Any, tmp_path: Path) -> None:
    """In two frames, so that the tiles' histories are joined as well."""
    size = {"height": 96, "width": 608}
    with load_engine(SSR, EngineConfig(precision="f32", threads=1, cache_dir=tmp_path)) as engine:
        pictures = []
        for reconstructor in (Reconstructor(engine), Reconstructor(engine, limit_hw=(96, 256))):
            history = None
            for index in range(2):
                [(picture, history)] = reconstructor.reconstruct([wall(index, **size)], [history])
            pictures.append(picture)
    whole, tiled = pictures
    difference = np.abs(tiled - whole)
    assert float(difference.max()) < 0.1 * float(whole.mean())
    steps = np.abs(np.diff(tiled - whole, axis=1)).mean((0, 2))  # a seam would stand out of its neighbourhood
    assert float(steps.max()) < 0.02 * float(whole.mean())


def test_an_engine_of_open_sizes_takes_everything_at_once(tmp_path: Path) -> None:
    config = EngineConfig(precision="f32", threads=1, cache_dir=tmp_path)
    with load_engine(SSR, config) as engine:
        assert min(largest_hw(engine)) > 1_000_000
    with load_engine(SSR, config, ShapeProfile.of(SSR, batch=1, height=(64, 64, 128), width=(64, 64, 96))) as engine:
        assert largest_hw(engine) == (128, 96)


def test_a_frame_beyond_the_largest_profile_is_served(wall: Any, tmp_path: Path) -> None:
    config = EngineConfig(precision="f32", threads=1, cache_dir=tmp_path)
    with load_engine(SSR, config, ShapeProfile.of(SSR, batch=1, height=(32, 64, 64), width=(32, 64, 64))) as engine:
        [(picture, history)] = Reconstructor(engine).reconstruct([wall(0, 70, 150)], [None])
    assert picture.shape == (70, 150, 3)
    assert history.size_wh == (150, 70)
    assert float(picture.mean()) == pytest.approx(float(wall(0, 70, 150)["albedo"].mean()) * 0.5, rel=0.15)
