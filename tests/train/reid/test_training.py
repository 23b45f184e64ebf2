"""A few steps on synthetic crops: the losses, the sampler, a checkpoint that carries on, the exported outputs."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.train


def synthetic(folder: Path, identities: int = 124) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for identity in range(1, identities + 1):
        colour = generator.integers(0, 256, (2, 1, 1, 3))
        for camera, moment in ((1, 1), (1, 2), (2, 1), (2, 2)):
            noise = generator.integers(-20, 20, (128, 64, 3))
            crop = np.concatenate([np.broadcast_to(c, (64, 64, 3)) for c in colour]) + noise
            cv2.imwrite(
                str(folder / f"{identity:04d}_c{camera}s1_{moment:06d}_01.png"), crop.clip(0, 255).astype(np.uint8)
            )
    return folder


def test_a_run_can_be_taken_up_again(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import torch

    from training.reid.train import TrainConfig, train

    data = synthetic(tmp_path / "crops")
    first = train(data, tmp_path / "run", TrainConfig(minutes=0.02, people=4, crops_each=2))
    steps = torch.load(first, weights_only=True)["steps"]
    again = torch.load(
        train(data, tmp_path / "run", TrainConfig(minutes=0.04, people=4, crops_each=2)), weights_only=True
    )
    assert again["steps"] > steps >= 1
    assert (tmp_path / "run" / "log.jsonl").read_text().count("held_out") == 2


def test_batches_spread_over_cameras() -> None:
    from training.reid.sampler import CameraAwareBatches

    identities, cameras = np.repeat(np.arange(6), 6), np.tile([1, 1, 1, 2, 2, 3], 6)
    batches = iter(CameraAwareBatches(identities, cameras, 3, 4, np.random.default_rng(0)))
    for batch in (next(batches) for _ in range(4)):
        assert len(set(batch.tolist())) == 12
        for row in batch.reshape(3, 4):
            assert len(set(identities[row])) == 1
            assert set(cameras[row]) == {1, 2, 3}


def test_the_triplet_loss_falls_as_classes_part() -> None:
    torch = pytest.importorskip("torch")
    from training.reid.losses import batch_hard_triplet

    labels = torch.tensor([0, 0, 1, 1])
    near = torch.tensor([[0.0], [1.0], [0.5], [1.5]])
    apart = torch.tensor([[0.0], [0.1], [9.0], [9.1]])
    assert batch_hard_triplet(apart, labels) < 0.01 < batch_hard_triplet(near, labels)


def test_the_shipped_weights_fit_the_network() -> None:
    torch = pytest.importorskip("torch")
    from models.engine import EngineConfig, load_engine
    from models.reid import REID_NANO, Embedder
    from models.reid.network import EmbedderNet
    from training.export import load_network
    from training.reid.augment import normalize_crops

    network = load_network(EmbedderNet(), REID_NANO).eval()
    crops = np.random.default_rng(3).integers(0, 256, (2, 128, 64, 3), np.uint8)
    with torch.inference_mode():
        expected = network(normalize_crops(torch.from_numpy(crops))).numpy()
    engine = load_engine(REID_NANO, EngineConfig(compiler="openvino", precision="f32", threads=1), from_uint8=True)
    np.testing.assert_allclose(Embedder(engine).embed_crops(crops), expected, atol=2e-4)
