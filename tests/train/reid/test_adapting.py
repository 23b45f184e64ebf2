"""Adapting with torch: the losses, a network that learns without labels, and that a worse one is never kept."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from typer.testing import CliRunner

from models.engine import EngineConfig, load_engine
from models.reid import REID_NANO, Embedder
from models.sites import embedder_spec, list_networks, next_network
from training.reid.figures import drawn_people
from training.reid.site import SiteCrops

pytestmark = pytest.mark.train
ENGINE = EngineConfig(compiler="openvino", precision="f32", threads=1)


def figures() -> SiteCrops:
    crops, people, cameras = drawn_people()
    return SiteCrops(crops, tuple(f"figure-{one}" for one in people), tuple(f"cam-{one}" for one in cameras))


def test_the_metric_loss_falls_near_ones_other_picture_and_far_from_other_centres() -> None:
    torch = pytest.importorskip("torch")
    from training.reid.centres import centre_softmax, centroids

    eye = torch.eye(4)
    assigned = torch.tensor([0, 0, 1, 1])
    apart, mixed = eye[[0, 0, 1, 1]], eye[[0, 1, 0, 1]]
    losses = []
    for rows in (apart, mixed):
        centres = torch.nn.functional.normalize(centroids(rows, assigned, 2), dim=1)
        losses.append(float(centre_softmax(rows, rows[[1, 0, 3, 2]], centres, assigned, 0.1)))
    assert losses[0] < 0.01 < losses[1]
    far = centre_softmax(apart, eye[[2, 2, 3, 3]], eye[:2], assigned, 0.1)
    assert far > losses[0] + 0.5
    torch.testing.assert_close(centroids(mixed, assigned, 3)[2], torch.zeros(4))


def test_the_clustering_loss_wants_sure_and_balanced_clusters() -> None:
    torch = pytest.importorskip("torch")
    from training.reid.centres import clustering_loss

    none = torch.zeros(2, 4)
    sure = clustering_loss(20 * torch.eye(2)[[0, 1, 0, 1]], none)
    unsure = clustering_loss(torch.zeros(4, 2), none)
    one_for_all = clustering_loss(20 * torch.eye(2)[[0, 0, 0, 0]], none)
    assert sure == pytest.approx(-np.log(2), abs=1e-3)
    assert unsure == pytest.approx(0, abs=1e-3)
    assert one_for_all == pytest.approx(0, abs=1e-3)
    assert clustering_loss(torch.zeros(4, 2), none + 10) > unsure  # R(theta)


def test_centres_are_decoded_to_their_pictures() -> None:
    torch = pytest.importorskip("torch")
    from training.reid.centres import CentreDecoder, reconstruction_loss

    torch.manual_seed(0)
    decoder, maps = CentreDecoder(8), torch.randn(2, 8, 8, 4)
    crops, assigned = torch.randn(2, 3, 1, 1).expand(2, 3, 128, 64)[[0, 1, 1]], torch.tensor([0, 1, 1])
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = reconstruction_loss(crops, decoder(maps), assigned)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_it_learns_from_pictures_alone() -> None:
    torch = pytest.importorskip("torch")
    from models.reid.network import EmbedderNet
    from training.export import load_network
    from training.reid.adapter import AdaptConfig, NoClustersError, adapt

    network = load_network(EmbedderNet(), REID_NANO)
    before = copy.deepcopy(network.state_dict())
    told: list[float] = []
    config = AdaptConfig(minutes=0.1, rounds=2, people=8, crops_each=2)
    done = adapt(
        network, figures().images[:180], figures().cameras[:180], config, lambda progress, row: told.append(progress)
    )
    assert done.steps >= 2
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert done.rounds[0]["clusters"] >= 8
    assert not torch.equal(done.network.state_dict()["part_says.weight"], before["part_says.weight"])
    assert torch.equal(network.state_dict()["part_says.weight"], before["part_says.weight"])  # the given one stays
    with pytest.raises(NoClustersError, match="wait until the site has seen more people"):
        adapt(network, figures().images[:24], [""] * 24, config)


def test_a_worse_network_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from training.reid.adaptation import adapt_site
    from training.reid.adapter import AdaptConfig, Adapted

    def spoil(network, crops, cameras, config, said):  # type: ignore[no-untyped-def]
        worse = copy.deepcopy(network)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weights in worse.backbone.parameters():
                weights.add_(4 * torch.randn(weights.shape, generator=generator) * weights.std(correction=0))
        return Adapted(worse, 1, ({"clusters": 0.0},))

    new = next_network("lobby", tmp_path / "networks")
    done = adapt_site(figures(), REID_NANO, new, AdaptConfig(), ENGINE, learn=spoil)
    assert done.network is None
    assert done.verdict.site_after < done.verdict.site_before
    assert "not better on the site's people held back" in done.verdict.why
    assert not new.folder.exists()


def test_a_better_network_is_kept_with_its_verdict_and_serves(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from models.reid.network import EmbedderNet
    from training.export import export, load_network
    from training.reid.adaptation import adapt_site
    from training.reid.adapter import AdaptConfig, Adapted

    shipped = load_network(EmbedderNet(), REID_NANO).eval()
    worse = copy.deepcopy(shipped)
    with torch.no_grad():
        worse.neck.weight.mul_(torch.rand(512, generator=torch.Generator().manual_seed(0)).pow(8))
        worse.neck.bias.add_(0.7)
    now = next_network("old", tmp_path)
    export(worse, now, [torch.randn(2, 3, 128, 64)])
    new = next_network("lobby", tmp_path)
    rows = ({"clusters": 3.0},)
    done = adapt_site(figures(), now, new, AdaptConfig(), ENGINE, learn=lambda *given: Adapted(shipped, 5, rows))
    assert done.verdict.accepted, done.verdict.why
    assert done.network == f"{REID_NANO.stem}+lobby.1"
    assert done.network in list_networks(tmp_path)
    spec = embedder_spec(done.network, tmp_path)
    kept = spec.record().metrics["adaptation"]
    assert (kept["from"], kept["verdict"]["accepted"], kept["rounds"]) == (now.stem, True, list(rows))
    crops = figures().images[:8]
    with load_engine(spec, ENGINE, from_uint8=True) as ours, load_engine(REID_NANO, ENGINE, from_uint8=True) as theirs:
        cosines = (Embedder(ours, spec).embed_crops(crops) * Embedder(theirs).embed_crops(crops)).sum(axis=1)
    assert cosines.min() > 0.999


@pytest.mark.services
def test_the_command_adapts_and_the_gallery_follows_or_nothing_changes(
    valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from foveal.cli import app
    from foveal.exits import Exit
    from foveal.gallery import Gallery
    from foveal.settings import load_settings
    from gallery.crops import new_key, set_crop_policy
    from gallery.errors import NotReembeddableError
    from gallery.schema import CropPolicy
    from gallery.store import GalleryStore

    monkeypatch.setenv("FOVEAL_REDIS__URL", valkey)
    monkeypatch.setenv("FOVEAL_GALLERY__CROP_KEY", new_key())
    monkeypatch.setenv("FOVEAL_REID__FOLDER", str(tmp_path / "networks"))
    monkeypatch.setenv("FOVEAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FOVEAL_ENGINE__COMPILER", "openvino")
    name, site = f"lobby-{uuid4().hex}", figures()

    def run(*words: str):  # type: ignore[no-untyped-def]
        return CliRunner().invoke(app, ["adapt", "--gallery", name, "--site", "lobby", "--minutes", "0.1", *words])

    with GalleryStore(load_settings(None).gallery) as store, Gallery(name, config=load_settings(None)) as opened:
        opened.create()
        bare = opened.enrol("Bare", image_bgr=site.images[0], whole=True).identity_id
        refused = run()
        assert isinstance(refused.exception, NotReembeddableError)
        assert "it stays with" in str(refused.exception)
        opened.remove(bare)
        set_crop_policy(store, name, CropPolicy(retention_s=3600))
        for row in range(6 * 44):
            opened.enrol(site.people[row], image_bgr=site.images[row], whole=True, identity_id=site.people[row])
        done = run("--json")
        told = json.loads(done.stdout)
        assert told["verdict"]["people"] == 15
        assert done.exit_code == (Exit.DONE if told["network"] else Exit.CHECK_FAILED)
        assert store.info(name).epoch == (told["network"] or REID_NANO.stem)
        assert list_networks(tmp_path / "networks") == ([told["network"]] if told["network"] else [])
        store.remove_gallery(name)
