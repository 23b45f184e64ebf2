"""A few steps on synthetic crops: the losses, the sampler, a checkpoint that carries on, the exported outputs."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.reid.attributes import GROUPS, LABELS, LOWER_COLOURS, UPPER_COLOURS
from models.reid.words import words_paths
from training.reid.attributes import COUNTED, UNKNOWN, correlations, read_attributes

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


def described(folder: Path, identities: int = 124) -> Path:
    """An attributes.csv of the same people; the last has no row."""
    generator = np.random.default_rng(1)
    names = [*COUNTED.values(), *(f"up{one}" for one in UPPER_COLOURS), *(f"down{one}" for one in LOWER_COLOURS)]
    lines = [",".join(["id", *names])]
    for identity in range(1, identities):
        lines.append(",".join([f"{identity:04d}", *(str(one) for one in generator.integers(1, 3, len(names)))]))
    path = folder / "attributes.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_run_can_be_taken_up_again_and_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from training.reid.config import TrainConfig
    from training.reid.train import train

    data, attributes, run = synthetic(tmp_path / "crops"), described(tmp_path), tmp_path / "run"
    first = train(data, attributes, run, TrainConfig(minutes=0.02, people=4, crops_each=2))
    steps = torch.load(first, weights_only=True)["steps"]
    again = train(data, attributes, run, TrainConfig(minutes=0.04, people=4, crops_each=2))
    kept = torch.load(again, weights_only=True)
    assert kept["steps"] > steps >= 1
    assert kept["average"]["graph.words"].abs().sum() > 1  # the labels' embeddings are in the weights

    from models.reid import words as served
    from training.reid import words

    monkeypatch.setattr(words, "words_paths", lambda: words_paths(tmp_path))
    monkeypatch.setattr(served, "words_paths", lambda: words_paths(tmp_path))
    words.export_words(run, data, attributes, words.WordsConfig(reader_steps=2, align_steps=2, prompt_steps=1))
    (hit,) = served.Words().rank("woman, red top", np.eye(1, 512, dtype=np.float32), [5], 3)
    assert (hit.owner, len(hit.phrases)) == (5, 2)


def test_an_older_networks_blocks_are_taken_over_where_they_fit() -> None:
    torch = pytest.importorskip("torch")
    from training.reid.config import TrainConfig
    from training.reid.learner import Learner

    learner = Learner(TrainConfig(), 5)
    given = {name: value.clone() for name, value in learner.network.state_dict().items() if "tracked" not in name}
    # As an older trunk had it: without the second block of its second stage.
    old = {name: value + 1 for name, value in given.items() if name.startswith(("backbone.", "global_part."))}
    old = {name.replace("backbone.6.", "backbone.5.", 1): value for name, value in old.items() if ".5." not in name}
    taken = learner.begin_from(old)
    now = learner.network.state_dict()
    assert "backbone.6.conv1.weight" in taken
    torch.testing.assert_close(now["backbone.6.conv1.weight"], given["backbone.6.conv1.weight"] + 1)
    torch.testing.assert_close(now["backbone.5.conv1.weight"], learner.average.state_dict()["backbone.5.conv1.weight"])
    assert not any(name.startswith("backbone.5.") for name in taken)


def test_attributes_are_read_and_counted(tmp_path: Path) -> None:
    identities = np.array([1, 2, 124], np.int64)
    told = read_attributes(described(tmp_path), identities)
    assert told.shape == (3, len(GROUPS))
    assert (told[2] == UNKNOWN).all()
    edges = correlations(told)
    np.testing.assert_allclose(edges.sum(axis=1), 1, atol=1e-5)
    assert (edges >= 0).all()
    (tmp_path / "attributes.csv").write_text("id,age\n0001,2\n")
    with pytest.raises(ValueError, match="id 0001"):
        read_attributes(tmp_path / "attributes.csv", identities)


def test_the_graph_passes_messages_from_parts_to_labels() -> None:
    torch = pytest.importorskip("torch")
    from models.reid.network import EmbedderNet

    torch.manual_seed(0)
    network = EmbedderNet().eval()
    crops = torch.randn(2, 3, 128, 64)
    embedding = network(crops)
    assert embedding.shape == (2, 512)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    assert network.slices == (256, 128, 128)
    for size in ((96, 48), (128, 64)):
        features, logits = network.features(torch.randn(2, 3, *size))
        assert (features.shape, logits.shape) == ((2, 512), (2, len(LABELS)))
    parts, whole = torch.randn(2, 4, 192), torch.randn(2, 192)
    moved = parts.clone()
    moved[:, 0] += 5  # the head
    before, after = (network.graph(one, whole)[1] for one in (parts, moved))
    hat = [label.name for label in LABELS].index("hat")
    assert (before[:, hat] - after[:, hat]).abs().min() > 1e-4


@pytest.mark.parametrize(("parts", "graph"), [(False, False), (True, False), (False, True)])
def test_the_ablations_keep_the_embeddings_length(parts: bool, graph: bool) -> None:
    torch = pytest.importorskip("torch")
    from models.reid.network import EmbedderNet

    network = EmbedderNet(parts=parts, graph=graph).eval()
    assert network(torch.randn(2, 3, 128, 64)).shape == (2, 512)
    assert sum(network.slices) == 512


def test_words_are_learned_in_three_stages() -> None:
    torch = pytest.importorskip("torch")
    from models.reid.text import TextEncoder
    from training.reid.prompt import PromptedEncoder
    from training.reid.words import WordsConfig, WordsLearner, learn

    encoder = TextEncoder()
    prompted = PromptedEncoder(encoder, ["a red top", "a woman"])
    context = torch.randn(3, 384, generator=torch.Generator().manual_seed(0)) * 0.05
    expected = encoder.encode(["a red top", "a woman"], context.numpy())
    np.testing.assert_allclose(prompted(context).numpy(), expected, atol=2e-5)

    torch.manual_seed(0)
    told = torch.zeros(40, len(GROUPS), dtype=torch.int64)
    told[:20] = 1
    embeddings = torch.nn.functional.normalize(torch.randn(1, 40, 512), dim=2)
    embeddings[0, :20, 0] += 2
    config = WordsConfig(reader_steps=100, align_steps=10, prompt_steps=1, people=10)
    state, losses = learn(WordsLearner(embeddings, np.repeat(np.arange(10), 4), told, config), encoder)
    assert losses["attributes"] < 0.62  # 0.69 is chance
    assert state["labels"].shape == (5, len(LABELS), 384)
    assert all(np.isfinite(values).all() for values in state.values())


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
