"""`foveal gallery reembed` and `foveal adapt` on a real Valkey: what goes over, what is refused, what is said."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from typer.testing import CliRunner

from foveal.adapting import TrainingMissingError, folder_crops, gallery_crops
from foveal.cli import app
from foveal.exits import Exit, exit_code_of
from foveal.gallery import Gallery
from foveal.settings import load_settings
from gallery.crops import new_key, set_crop_policy
from gallery.errors import EpochMismatchError, NotReembeddableError
from gallery.schema import CropPolicy, Sighting
from gallery.store import GalleryStore
from models.reid.spec import REID_NANO
from models.sites import next_network
from training.reid.figures import drawn_people

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not REID_NANO.record_path.is_file(), reason="the ReID network is not exported yet"),
]
CROPS = drawn_people()[0]


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valkey: str) -> str:
    """The shipped network under the name of a site's, in a folder of the settings."""
    monkeypatch.setenv("FOVEAL_REDIS__URL", valkey)
    monkeypatch.setenv("FOVEAL_GALLERY__CROP_KEY", new_key())
    monkeypatch.setenv("FOVEAL_REID__FOLDER", str(tmp_path / "networks"))
    monkeypatch.setenv("FOVEAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FOVEAL_ENGINE__COMPILER", "openvino")
    spec = next_network("lobby", tmp_path / "networks")
    spec.folder.mkdir()
    for source, target in (
        (REID_NANO.topology_path, spec.topology_path),
        (REID_NANO.weights_path, spec.weights_path),
        (REID_NANO.record_path, spec.record_path),
    ):
        shutil.copy(source, target)
    return spec.stem


@pytest.fixture
def store(network: str) -> Iterator[GalleryStore]:
    with GalleryStore(load_settings(None).gallery, who="test") as opened:
        yield opened


@pytest.fixture
def lobby(store: GalleryStore) -> Iterator[str]:
    """Three figures with two crops each."""
    name = f"lobby-{uuid4().hex}"
    with Gallery(name, config=load_settings(None)) as opened:
        opened.create()
        set_crop_policy(store, name, CropPolicy(retention_s=3600))
        for person in range(3):
            for view in range(2):
                opened.enrol(f"figure {person}", image_bgr=CROPS[6 * person + view], whole=True)
    yield name
    store.remove_gallery(name)


def search(gallery: str) -> Any:
    with Gallery(gallery, config=load_settings(None)) as opened:
        return opened.search(image_bgr=CROPS[6], whole=True).match


def test_a_gallery_goes_over_by_the_command_and_back(
    store: GalleryStore, lobby: str, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert search(lobby).name == "figure 1"
    done = run("gallery", "reembed", lobby, "--network", network, "--reason", "adapted", "--json")
    assert done.exit_code == Exit.DONE, done.output
    told = json.loads(done.stdout)
    assert (told["epoch_before"], told["epoch"], told["embedded"], told["left_out"]) == (
        REID_NANO.stem,
        network,
        6,
        0,
    )
    with pytest.raises(EpochMismatchError, match=r"set reid\.network"):
        search(lobby)
    with (
        Gallery(lobby, config=load_settings(None)) as opened,
        pytest.raises(EpochMismatchError, match="words are read"),
    ):
        opened.search_by_words("woman, red top")
    monkeypatch.setenv("FOVEAL_REID__NETWORK", network)
    again = search(lobby)
    assert (again.name, again.status) == ("figure 1", "known")
    assert again.score > 0.95  # of its crop as it was kept
    assert "already" not in run("gallery", "reembed", lobby).stdout
    back = run("gallery", "reembed", lobby, "--network", REID_NANO.stem, "--forget-old")
    assert "what other networks made is deleted" in back.stdout
    assert store.info(lobby).epoch == REID_NANO.stem


def test_who_has_no_crop_stops_it_unless_left_out(store: GalleryStore, lobby: str, network: str) -> None:
    row = np.zeros(512, np.float32)
    row[0] = 1
    store.enrol(lobby, row, identity_id="bare", name="Bare")
    store.client.hset(f"foveal:{{{lobby}}}:vector:bare:0", "enrolled_at_ms", 1)
    refused = run("gallery", "reembed", lobby, "--network", network)
    assert isinstance(refused.exception, NotReembeddableError)
    assert exit_code_of(refused.exception) is Exit.USAGE
    assert store.info(lobby).epoch == REID_NANO.stem
    done = run("gallery", "reembed", lobby, "--network", network, "--leave-out")
    assert "no usable vector: bare" in done.stdout


def test_crops_come_with_who_and_where(store: GalleryStore, lobby: str) -> None:
    people = {one.name: one.identity_id for one in store.list_identities(lobby)}
    who = people["figure 0"]
    at_ms = store.show(lobby, who).vectors[0].enrolled_at_ms
    assert at_ms is not None
    seen = Sighting(event_id=uuid4().hex, identity_id=who, stream_id="door", seen_at_ms=at_ms - 500)
    store.record_sightings(lobby, [seen])
    found = gallery_crops(store, lobby, REID_NANO, reason="a trial")
    assert len(found) == 6
    assert set(found.people) == set(people.values())
    assert {camera for person, camera in zip(found.people, found.cameras, strict=True) if person == who} == {"door"}
    assert {camera for person, camera in zip(found.people, found.cameras, strict=True) if person != who} == {""}
    lines = [line for line in store.audit(lobby) if line["op"] == "open crops"]
    assert {(line["detail"], line["reason"]) for line in lines} == {("adapt the embedder", "a trial")}


def test_crops_come_from_folders(tmp_path: Path) -> None:
    import cv2

    for place in ("ada/cam-1/1.png", "ada/cam-2/1.png", "bea/1.png", "2.png"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), CROPS[0])
    found = folder_crops(tmp_path, REID_NANO)
    assert list(zip(found.people, found.cameras, strict=True)) == [
        ("", ""),
        ("ada", "cam-1"),
        ("ada", "cam-2"),
        ("bea", ""),
    ]
    assert found.images.shape == (4, 128, 64, 3)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="this environment has torch")
def test_without_torch_it_says_what_to_do(lobby: str) -> None:
    done = run("adapt", "--gallery", lobby)
    assert isinstance(done.exception, TrainingMissingError)
    assert "make setup-train" in str(done.exception)
    assert exit_code_of(done.exception) is Exit.USAGE


def test_its_help_has_exit_codes_and_examples() -> None:
    said = run("adapt", "--help").output
    assert "Exit codes" in said
    assert "foveal adapt --gallery lobby" in said
    assert run("adapt").exit_code == Exit.USAGE
