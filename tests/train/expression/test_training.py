"""Label distributions, calibration and a few steps on synthetic faces."""

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.train


def test_targets_lie_between_the_label_and_the_neighbours() -> None:
    torch = pytest.importorskip("torch")
    from training.expression.ldlva import LabelDistributions

    affect, labels = torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.9, 0.9]]), torch.tensor([0, 1, 2])
    distributions = LabelDistributions(affect, labels, 3, 4)
    distributions.factor[:] = 0.5
    targets, factor = distributions.targets(torch.tensor([0]), torch.tensor([[1, 2]]), torch.zeros(1, 4))
    assert targets.sum().item() == pytest.approx(1)
    assert targets[0, 0].item() == pytest.approx(0.5)
    assert targets[0, 1] > 0.49 > targets[0, 2]  # the near neighbour counts, the far one hardly
    targets[0, 1].log().backward()
    assert distributions.calibration[0].weight.grad is not None
    distributions.update_factors(torch.tensor([0]), factor.grad, 0.01)
    assert 0 <= float(distributions.factor[0]) <= 0.5
    assert float(distributions.factor[1]) == 0.5


def test_the_discriminative_loss_wants_compact_classes_apart() -> None:
    torch = pytest.importorskip("torch")
    from training.expression.ldlva import discriminative_loss

    labels, sure = torch.tensor([0, 1]), torch.zeros(2)
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0]])
    at_home = discriminative_loss(centres.clone(), labels, sure, centres)
    away = discriminative_loss(centres + 1, labels, sure, centres)
    crowded = discriminative_loss(centres * 0.1, labels, sure, centres * 0.1)
    assert at_home < away
    assert at_home < crowded
    assert discriminative_loss(centres + 1, labels, sure + 0.9, centres) < away


def test_calibration_finds_the_temperature() -> None:
    torch = pytest.importorskip("torch")
    from training.expression.export import calibrate

    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 7, generator=generator)
    labels = torch.multinomial(torch.softmax(logits, dim=1), 1, generator=generator)[:, 0]
    temperature, scale, _ = calibrate(3 * logits, -logits.amax(dim=1), labels)
    assert temperature == pytest.approx(3, rel=0.1)
    assert scale > 0


def test_a_run_can_be_taken_up_again(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from training.expression.train import TrainConfig, train

    generator = np.random.default_rng(0)
    votes = np.zeros((400, 10), np.int8)
    votes[np.arange(400), generator.integers(0, 8, 400)] = 10
    data = tmp_path / "faces.npz"
    np.savez(
        data,
        images=generator.integers(0, 256, (400, 48, 48), np.uint8),
        labels=(np.arange(400) % 7).astype(np.uint8),
        votes=votes,
    )
    first = train(data, tmp_path / "run", TrainConfig(minutes=0.02, batch=16))
    steps = torch.load(first, weights_only=True)["steps"]
    again = torch.load(train(data, tmp_path / "run", TrainConfig(minutes=0.04, batch=16)), weights_only=True)
    assert again["steps"] > steps >= 1
    assert all(torch.isfinite(values).all() for values in again["network"].values())


def test_the_shipped_weights_fit_the_network() -> None:
    torch = pytest.importorskip("torch")
    from models.engine import EngineConfig, load_engine
    from models.expression import EXPRESSION_NANO, ExpressionReader
    from models.expression.network import ExpressionNet
    from training.export import load_network
    from training.expression.augment import normalize_faces

    network = load_network(ExpressionNet(), EXPRESSION_NANO).eval()
    faces = np.random.default_rng(3).integers(0, 256, (2, 48, 48), np.uint8)
    with torch.inference_mode():
        expected = network(normalize_faces(torch.from_numpy(faces)))[0].numpy()
    config = EngineConfig(compiler="openvino", precision="f32", threads=1)
    readings = ExpressionReader(load_engine(EXPRESSION_NANO, config, from_uint8=True)).read_faces(faces)
    np.testing.assert_allclose([one.probabilities for one in readings], expected, atol=2e-4)
