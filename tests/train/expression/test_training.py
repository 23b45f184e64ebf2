"""Label distributions, calibration and a few steps on synthetic faces."""

from pathlib import Path

import numpy as np
import pytest

from training.expression.config import METHODS, Method, TrainConfig
from training.expression.data import FaceSet

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
    from training.expression.train import train

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


def faces_of(count: int) -> FaceSet:
    generator = np.random.default_rng(0)
    votes = np.zeros((count, 10), np.int64)
    votes[np.arange(count), generator.integers(0, 8, count)] = 10
    return FaceSet(generator.integers(0, 256, (count, 48, 48), np.uint8), np.arange(count) % 7, votes)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_steps_on_wrong_labels(method: Method, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from training.expression.train import train_on
    from training.expression.trials import flip_labels

    faces = faces_of(128)
    flipped = flip_labels(faces, 30, seed=1)
    assert (flipped.labels != faces.labels).mean() == pytest.approx(0.3, abs=0.01)
    config = TrainConfig(minutes=0.02, batch=16, method=method, distributions_from=0.0, crowd_weight=0, affect_weight=0)
    kept = torch.load(train_on(flipped, faces, tmp_path, config, resume=False), weights_only=True)
    assert kept["steps"] >= 1
    assert all(torch.isfinite(values).all() for values in kept["average"].values())


def test_relabelling_takes_what_the_network_is_surer_of_and_smoothing_spares_all() -> None:
    torch = pytest.importorskip("torch")
    from training.expression.learner import Learner

    labels, nobody = np.array([0, 1]), np.zeros((2, 8), np.float32)
    said = torch.tensor([[0.1, 0.9, 0, 0, 0, 0, 0], [0.4, 0.5, 0.1, 0, 0, 0, 0]])
    targets = {}
    for method in METHODS:
        learner = Learner(
            TrainConfig(method=method), labels, np.zeros((2, 2), np.float32), np.array([True, True]), nobody
        )
        rows, neighbours = torch.tensor([0, 1]), torch.tensor([[1], [0]])
        targets[method], _ = learner._targets(rows, neighbours, torch.zeros(2, 256), said, progress=0.5)
    assert targets["plain"].argmax(dim=1).tolist() == [0, 1]
    assert targets["relabel"].argmax(dim=1).tolist() == [1, 1]
    assert targets["smoothing"].min().item() == pytest.approx(0.1 / 7)
    assert targets["ldlva"][0, 1].item() == pytest.approx(0.2, abs=1e-3)  # the neighbour's share


def test_a_trial_on_record_is_not_repeated(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from training.expression.trials import try_noise

    data, faces = tmp_path / "faces.npz", faces_of(300)
    np.savez(data, images=faces.images, labels=faces.labels.astype(np.uint8), votes=faces.votes.astype(np.int8))
    asked = {"minutes": 0.02, "seeds": 1, "count": 100, "trunk_minutes": 0.02, "percents": (20,)}
    first = try_noise(data, tmp_path / "run", **asked)
    assert [one["trial"] for one in first] == [f"{method}, 20 % of 100 wrong" for method in METHODS]
    log = (tmp_path / "run" / "now" / "log.jsonl").read_bytes()
    assert try_noise(data, tmp_path / "run", **asked) == first
    assert (tmp_path / "run" / "now" / "log.jsonl").read_bytes() == log


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
