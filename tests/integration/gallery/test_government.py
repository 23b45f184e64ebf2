"""Calibration, health, transfer: on a real Valkey, by Python, by `foveal gallery ...` and over HTTP."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from foveal.cli import app
from foveal.exits import exit_code_of
from gallery.calibration import calibrate_gallery
from gallery.changes import keep_apart
from gallery.config import GalleryConfig
from gallery.errors import CalibrationError, ExportFileError, GalleryExistsError, UnknownGalleryError
from gallery.health import check_gallery
from gallery.index import GalleryIndex
from gallery.keys import GalleryKeys
from gallery.store import GalleryStore
from gallery.transfer import export_gallery, import_gallery

pytestmark = pytest.mark.services
DIMENSION = 16


def people(seed: int, count: int, views: int) -> np.ndarray:
    """float32 [count, views, D] of unit norm."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(count, 1, DIMENSION))
    seen = middles + 0.5 * rng.normal(size=(count, views, DIMENSION))
    return (seen / np.linalg.norm(seen, axis=2, keepdims=True)).astype(np.float32)


@pytest.fixture
def config(valkey: str) -> GalleryConfig:
    return GalleryConfig(url=valkey, canaries_every_s=0.05, heartbeat_s=0.02)


@pytest.fixture
def store(config: GalleryConfig) -> Iterator[GalleryStore]:
    with GalleryStore(config, who="test") as opened:
        yield opened


@pytest.fixture
def lobby(store: GalleryStore) -> Iterator[str]:
    """Sixty people of three views each."""
    name = f"lobby-{uuid4().hex}"
    store.create(name, dimension=DIMENSION, epoch="net-1")
    for number, views in enumerate(people(1, 60, 3)):
        store.enrol(name, views, identity_id=f"p{number:02}", name=f"Person {number}", quality=0.8)
    yield name
    store.remove_gallery(name)


def ran(*words: str) -> Result:
    return CliRunner().invoke(app, ["gallery", *words])


def test_a_calibrated_gallery_lets_the_named_share_through_in_every_index(
    config: GalleryConfig, store: GalleryStore, lobby: str
) -> None:
    with GalleryIndex(config, galleries=[lobby]) as index:
        index.wait_until_synced(5)
        query = people(1, 60, 3)[:1, 0]
        assert index.match(query, lobby)[0].probability is None
        found = calibrate_gallery(store, lobby, 0.1)
        until = time.monotonic() + 1
        while index.match(query, lobby)[0].probability is None:
            assert time.monotonic() < until
            time.sleep(0.005)
        strangers = people(2, 2_000, 1)[:, 0]
        taken = sum(m.status == "known" for m in index.match(strangers, lobby)) / len(strangers)
        assert 0.05 < taken < 0.18
        assert index.match(query, lobby)[0].probability > 0.9  # type: ignore[operator]
        assert store.info(lobby).calibration == found.model_copy(update={"at_ms": store.info(lobby).calibration.at_ms})  # type: ignore[union-attr]
        store.set_threshold(lobby, 0.5)
        assert store.info(lobby).calibration is None  # by hand: nothing is known of it


def test_an_empty_or_small_gallery_is_not_calibrated(store: GalleryStore) -> None:
    name = f"small-{uuid4().hex}"
    store.create(name, dimension=DIMENSION, epoch="net-1", threshold=0.4)
    with pytest.raises(CalibrationError, match="no usable vector"):
        calibrate_gallery(store, name, 0.01)
    for views in people(1, 3, 2):
        store.enrol(name, views)
    with pytest.raises(CalibrationError, match="30 searches"):
        calibrate_gallery(store, name, 0.01)
    assert store.info(name).threshold == 0.4
    with pytest.raises(UnknownGalleryError):
        calibrate_gallery(store, "none", 0.01)


def test_check_names_damage_duplicates_and_replicas(config: GalleryConfig, store: GalleryStore, lobby: str) -> None:
    calibrate_gallery(store, lobby, 0.05)
    views = people(1, 60, 3)
    store.enrol(lobby, views[7, 0], identity_id="twin")
    with GalleryIndex(config, galleries=[lobby]) as index:
        index.wait_until_synced(5)
        for _ in range(12):  # the scores that later ones are compared with
            index.match(views.reshape(-1, DIMENSION), lobby)
        until = time.monotonic() + 5
        while (found := check_gallery(store, lobby)).drift is None or found.replicas[0].canaries == 0:
            assert time.monotonic() < until, found
            time.sleep(0.05)
        assert found.healthy
        assert found.drift < 0.05
        assert (found.replicas[0].identities, found.replicas[0].corrupt) == (61, 0)
        assert found.replicas[0].canary_failures == ()
        suspects = [(pair.identity_id, pair.other_id) for pair in found.duplicate_suspects]
        assert ("p07", "twin") in suspects
        for _ in range(3):
            index.match(people(3, 2_000, 1)[:, 0], lobby)  # other people come by
        until = time.monotonic() + 5
        while "drifted" not in str(check_gallery(store, lobby).findings):
            assert time.monotonic() < until
            time.sleep(0.05)
        keep_apart(store, lobby, "twin", "p07")
        assert "twin" not in str(check_gallery(store, lobby).duplicate_suspects)
        table = index._follower.replicas[lobby].table
        table.remove("p10")  # a copy that lost somebody
        until = time.monotonic() + 20
        while "does not find" not in str(check_gallery(store, lobby).findings):
            assert time.monotonic() < until
            time.sleep(0.05)
    store.client.hset(GalleryKeys(lobby).vector("p03", 1), "embedding", b"x")
    damaged = check_gallery(store, lobby)
    assert not damaged.healthy
    assert "1 vectors cannot be read" in str(damaged.findings)


def test_an_export_comes_back_whole_and_only_once(store: GalleryStore, lobby: str, tmp_path: Path) -> None:
    calibrate_gallery(store, lobby, 0.05)
    store.enrol(lobby, people(4, 1, 1)[0], identity_id="p00", polarity="negative")
    file = tmp_path / "lobby.npz"
    sent = export_gallery(store, lobby, file)
    assert (sent.identities, sent.vectors, sent.left_out) == (60, 181, 0)
    assert file.stat().st_mode & 0o077 == 0
    name = f"copy-{uuid4().hex}"
    for _ in range(2):
        assert import_gallery(store, file, name=name).vectors == 181
    before, after = (
        {i.identity_id: (i.name, [(v.polarity, v.quality) for v in i.vectors]) for i in store.load(g)}
        for g in (lobby, name)
    )
    assert after == before
    assert store.info(name).threshold == store.info(lobby).threshold
    assert store.info(name).calibration is not None
    store.create(f"{name}-other", dimension=4, epoch="net-1")
    with pytest.raises(GalleryExistsError):
        import_gallery(store, file, name=f"{name}-other")
    whole = file.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        b"",
        b"PK\x03\x04",
        whole.replace(b"foveal-gallery-1", b"foveal-gallery-9"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(ExportFileError, match="foveal gallery export"):
            import_gallery(store, file, name=f"{name}-damaged")
    with pytest.raises(UnknownGalleryError):
        store.info(f"{name}-damaged")


def test_the_commands(
    valkey: str, store: GalleryStore, lobby: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOVEAL_REDIS__URL", valkey)
    calibrated = json.loads(ran("calibrate", lobby, "--fpir", "0.05", "--json").output)
    assert store.info(lobby).threshold == calibrated["threshold"]
    merged = json.loads(ran("merge", lobby, "p01", "p02", "--reason", "one coat", "--json").output)
    assert (merged["op"], merged["reason"]) == ("merge", "one coat")
    assert "merge" in ran("show", lobby, "--changes").output
    assert ran("undo", lobby).output.startswith("undone: merge")
    split = json.loads(ran("split", lobby, "p01", "1", "2", "--name", "Other", "--json").output)
    assert store.show(lobby, split["into"]).name == "Other"
    assert ran("undo", lobby, str(split["number"])).exit_code == 0
    noted = ran("negative", lobby, "p01", "--other", "p02")
    assert "takes it back" in noted.output
    refused = ran("merge", lobby, "p01", "p02")
    assert refused.exception is not None
    assert exit_code_of(refused.exception) == 2
    assert ran("negative", lobby, "p01").exit_code == 2
    file = str(tmp_path / "lobby.npz")
    assert "60 identities" in ran("export", lobby, file).output
    copy = f"{lobby}-copy"
    assert "60 identities" in ran("import", file, "--name", copy).output
    assert ran("expiry", copy, "30").output == f"{copy}: 30 days\n"
    assert json.loads(ran("expiry", copy, "--never", "--json").output)["expire_after_s"] is None
    checked = ran("check", copy)
    assert (checked.exit_code, "60 identities" in checked.output) == (0, True)
    store.client.delete(GalleryKeys(copy).identity("p05"))
    damaged = ran("check", copy, "--json")
    assert (damaged.exit_code, json.loads(damaged.output)["healthy"]) == (1, False)
    receipt = json.loads(ran("remove", lobby, "p09", "--reason", "asked", "--json").output)
    assert (receipt["proven"], receipt["removed"]["vectors"]) == (True, 3)
    trail = json.loads(ran("show", lobby, "--audit", "--json").output)
    assert (trail[0]["op"], trail[0]["reason"]) == ("remove", "asked")
    assert trail[0]["who"].startswith("foveal gallery/")
    assert "remove" in ran("show", lobby, "--audit").output
    assert ran("remove", copy, "--all").exit_code == 0


@pytest.mark.parametrize("command", ["merge", "split", "undo", "negative", "calibrate", "check", "export", "import"])
def test_each_command_helps_with_an_example(command: str) -> None:
    said = ran(command, "--help").output
    assert f"foveal gallery {command}" in said
    assert "Example" in said
