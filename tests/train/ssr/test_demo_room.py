"""The demo's room, rendered on this machine by the demo's own call, and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foveal.demo.inputs import InputMissingError
from foveal.demo.rendering import render_room
from foveal.demo.sequence import GBufferSequence
from foveal.renderer import mitsuba_installed

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]


def test_the_room_is_rendered_once_and_is_the_committed_one_s_like(tmp_path: Path) -> None:
    from training.ssr.backend import MitsubaMissingError, load_mitsuba

    assert mitsuba_installed()
    try:
        load_mitsuba()
    except MitsubaMissingError as error:
        pytest.skip(str(error))
    seen: list[tuple[int, int]] = []
    folder = render_room(tmp_path, lambda done, total: seen.append((done, total)), frames=2)
    assert seen == [(1, 2), (2, 2)]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]

    rendered, committed = GBufferSequence.room(folder), GBufferSequence.room()
    assert rendered.source.startswith("rendered here by Mitsuba 3")
    assert committed.source == "the committed sequence"
    ours, theirs = next(rendered.planes()), next(committed.planes())
    assert {name: plane.shape for name, plane in ours.items()} == {name: plane.shape for name, plane in theirs.items()}
    np.testing.assert_allclose(ours["depth"], theirs["depth"], rtol=0.01)  # both paths begin at the same place
    noisy, reference = next(rendered.pictures())
    assert reference is not None
    assert 20 < float(reference.mean()) < 235  # neither black nor white
    assert float(np.median(noisy)) == 0  # three of four pixels have no sample

    render_room(tmp_path, lambda done, total: seen.append((done, total)), frames=2)
    assert len(seen) == 2


def test_a_renderer_that_fails_is_an_input_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", str(tmp_path / "no-such-library.so"))
    with pytest.raises(InputMissingError, match="the room is not rendered here"):
        render_room(tmp_path, lambda done, total: None, frames=1)
    assert not (tmp_path / "room").exists()
