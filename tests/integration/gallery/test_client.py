"""`foveal.Gallery` and `foveal gallery ...` on a real Valkey; pictures where the embedder's weights are."""

import json
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from actors.config import AppConfig, parse_config
from foveal.commands import enroll, gallery, search
from foveal.exits import exit_code_of
from foveal.gallery import AmbiguousNameError, Gallery
from gallery.errors import EpochMismatchError, GalleryUnavailableError, UnknownGalleryError
from gallery.store import GalleryStore
from models.reid.spec import REID_NANO

pytestmark = pytest.mark.services
E = np.eye(8, dtype=np.float32)
needs_weights = pytest.mark.skipif(not REID_NANO.record_path.is_file(), reason="the ReID network is not exported yet")


@pytest.fixture
def config(valkey: str) -> AppConfig:
    return parse_config({"gallery": {"url": valkey}})


@pytest.fixture
def name() -> str:
    return f"lobby-{uuid4().hex}"


def test_enrol_by_name_search_and_remove(config: AppConfig, name: str) -> None:
    with Gallery(name, config=config) as lobby:
        lobby.create(dimension=8, epoch="net-1", threshold=0.5)
        ada = lobby.enrol("Ada", embedding=E[0])
        assert lobby.enrol("Ada", embedding=E[1]).identity_id == ada.identity_id
        lobby.enrol("Bea", embedding=E[2])
        found = lobby.search(embedding=(E[1] + 0.2 * E[2]) / np.linalg.norm(E[1] + 0.2 * E[2]))
        assert (found.match.status, found.match.name) == ("known", "Ada")
        assert [c.name for c in found.candidates] == ["Ada", "Bea"]
        assert found.match.margin == pytest.approx(found.candidates[0].score - found.candidates[1].score)
        assert lobby.search(embedding=E[5]).match.status == "unknown"
        lobby.enrol("Ada", embedding=E[5], identity_id="other")
        with pytest.raises(AmbiguousNameError, match="2 identities are named 'Ada'"):
            lobby.enrol("Ada", embedding=E[0])
        assert [i.name for i in lobby.identities()] == ["Ada", "Bea", "Ada"]
        lobby.remove("other")
        assert lobby.show(ada.identity_id).vector_count == 2
        with pytest.raises(TypeError, match="either image_bgr or embedding"):
            lobby.search()
        lobby.drop()
        with pytest.raises(UnknownGalleryError):
            lobby.search(embedding=E[0])


def test_a_gallery_is_governed_from_python(config: AppConfig, name: str) -> None:
    rng = np.random.default_rng(0)
    views = rng.normal(size=(40, 1, 8)) + 0.3 * rng.normal(size=(40, 2, 8))
    views /= np.linalg.norm(views, axis=2, keepdims=True)
    with Gallery(name, config=config) as lobby:
        lobby.create(dimension=8, epoch="net-1", threshold=0.5)
        for number, pair in enumerate(views):
            lobby.enrol(f"p{number}", embedding=pair, identity_id=f"p{number}")
        assert lobby.search(embedding=views[0, 0]).match.probability is None
        found = lobby.calibrate(0.1)
        answer = lobby.search(embedding=views[0, 0])
        assert (answer.threshold, answer.match.name) == (found.threshold, "p0")
        assert answer.match.probability is not None
        assert answer.match.probability > 0.5
        assert lobby.merge("p1", "p2", reason="one coat").op == "merge"
        assert lobby.undo().op == "merge"
        assert lobby.show(lobby.split("p3", [1], name="other").into).name == "other"
        assert lobby.remove("p0", reason="asked").proven
        assert lobby.search(embedding=views[0, 0]).match.name != "p0"
        lobby.drop()


def test_the_url_may_be_given_and_an_absent_server_is_named() -> None:
    with Gallery(url="redis://127.0.0.1:1/0") as gone, pytest.raises(GalleryUnavailableError, match=r"127\.0\.0\.1:1"):
        gone.identities()


def test_the_gallery_commands(valkey: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_REDIS__URL", valkey)
    run = CliRunner()
    made = run.invoke(gallery.app, ["create", name, "--threshold", "0.4", "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.output)["epoch"] == REID_NANO.stem
    listed = json.loads(run.invoke(gallery.app, ["list", "--json"]).output)
    assert name in [info["name"] for info in listed]
    assert name in run.invoke(gallery.app, ["list"]).output
    with GalleryStore(parse_config({"gallery": {"url": valkey}}).gallery) as store:
        who = store.enrol(name, np.eye(512)[0], name="Ada").identity_id
    assert [i["identity_id"] for i in json.loads(run.invoke(gallery.app, ["show", name, "--json"]).output)] == [who]
    shown = run.invoke(gallery.app, ["show", name, who]).output
    assert "vector 0: positive, reid-nano" in shown
    assert run.invoke(gallery.app, ["threshold", name, "0.7"]).output == f"{name}: 0.7\n"
    assert run.invoke(gallery.app, ["remove", name]).exit_code == 2
    assert run.invoke(gallery.app, ["remove", name, who]).exit_code == 0
    refused = run.invoke(gallery.app, ["remove", name, who])
    assert refused.exception is not None
    assert exit_code_of(refused.exception) == 2
    assert run.invoke(gallery.app, ["remove", name, "--all"]).exit_code == 0


@needs_weights
def test_people_are_enrolled_and_found_by_their_pictures(
    valkey: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: AppConfig
) -> None:
    monkeypatch.setenv("FOVEAL_REDIS__URL", valkey)
    rng = np.random.default_rng(7)
    for who in ("red", "blue"):  # no people, but two pictures that stay themselves when they are brightened
        picture = cv2.resize(rng.integers(0, 200, (16, 8, 3), dtype=np.uint8), (64, 128), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{who}.png"), picture)
        cv2.imwrite(str(tmp_path / f"{who}-brighter.png"), np.clip(picture.astype(int) + 8, 0, 255).astype(np.uint8))
    app = typer.Typer()
    app.command("enroll")(enroll.enroll)
    app.command("search")(search.search)
    run = CliRunner()
    for who in ("red", "blue"):
        said = run.invoke(app, ["enroll", "-g", name, "-n", who, str(tmp_path / f"{who}.png"), "--crop", "--json"])
        assert said.exit_code == 0, said.output
    with Gallery(name, config=config) as opened:
        (vector,) = opened.show(json.loads(said.output)["identity_id"]).vectors
        assert vector.quality is not None
        assert 0 < vector.quality < 1
    found = run.invoke(app, ["search", "-g", name, str(tmp_path / "red-brighter.png"), "--crop", "--json"])
    assert json.loads(found.output)["candidates"][0]["name"] == "red"
    with Gallery(f"{name}-other", config=config) as other:
        other.create(epoch="net-0")
        with pytest.raises(EpochMismatchError, match="net-0"):
            other.search(image_bgr=np.zeros((128, 64, 3), np.uint8), whole=True)
