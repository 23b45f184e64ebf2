"""Training's own parts: one warp for both sides, a loss that falls, scenes that a seed describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")


def _write_sequence(target: Path, seed: int) -> None:
    """Eight frames of 32x32 of a flat grey wall with noise."""
    rng = np.random.default_rng(seed)
    count, side = 8, 32
    albedo = np.full((count, side, side, 3), 0.5)
    mask = np.zeros((count, side, side), np.uint8)
    for index in range(count):
        mask[index, index % 2 :: 2, index // 2 % 2 :: 2] = 1
    radiance = albedo * rng.exponential(0.4, (count, side, side, 1)) * mask[..., None]
    normal = np.zeros((count, side, side, 3))
    normal[..., 2] = 1
    flat = np.ones((count, side, side))
    planes = {
        "radiance": radiance,
        "albedo": albedo,
        "normal": normal,
        "shadow": normal * 0,
        "transparent": normal * 0,
        "depth": flat,
        "metallic": flat * 0,
        "roughness": flat,
        "motion": np.zeros((count, side, side, 2)),
        "reference": np.full((3, side, side, 3), 0.2),
    }
    halves = {name: values.astype(np.float16) for name, values in planes.items()}
    meta = np.frombuffer(json.dumps({}).encode(), np.uint8)
    np.savez(target, mask=mask, referenced=np.array([5, 6, 7]), meta=meta, **halves)


def test_both_warps_agree() -> None:
    from models.ssr.warp import warp as warp_served
    from training.ssr.carry import warp as warp_trained

    rng = np.random.default_rng(0)
    previous = rng.random((11, 20, 32), np.float32)
    motion = rng.normal(0, 4, (20, 32, 2)).astype(np.float32)
    served = warp_served(previous, motion)
    trained = warp_trained(torch.from_numpy(previous)[None], torch.from_numpy(np.moveaxis(motion, -1, 0))[None])
    np.testing.assert_allclose(served, trained[0].numpy(), atol=0.04)  # OpenCV's steps of 1/32 pixel
    assert float(np.abs(served - trained[0].numpy()).mean()) < 0.01


def test_training_carries_history_as_serving_does() -> None:
    from models.ssr.carry import SURFACE
    from models.ssr.carry import carry as carry_served
    from training.ssr.carry import carry as carry_trained

    rng = np.random.default_rng(1)
    before, frame = rng.random((2, 15, 32, 48), np.float32)
    frame[7:10], before[7:10] = 0.5, 0.5 + rng.choice([0, 0.3, 1], (32, 48))
    kept, motion = rng.random((7, 32, 48), np.float32), rng.normal(0, 4, (32, 48, 2)).astype(np.float32)
    served = carry_served(kept, before[list(SURFACE)], motion, frame, (1.0, 1.0), np.empty((8, 32, 48), np.float32))
    batched = [torch.from_numpy(layers)[None] for layers in (kept, before, frame, np.moveaxis(motion, -1, 0))]
    np.testing.assert_allclose(served, carry_trained(*batched)[0].numpy(), atol=2e-3)
    assert 0.05 < float((served[7] > 0).mean()) < 0.95


def test_training_resumes_and_the_loss_falls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training.ssr.train import TrainPlan, train

    for seed in range(2):
        _write_sequence(tmp_path / f"wall-{seed}.npz", seed)
    checkpoint = tmp_path / "checkpoint.pt"
    for steps in (10, 20):
        train(TrainPlan(tmp_path, checkpoint, minutes=60, steps=steps, batch=2, crop=32, rate=2e-3))
        assert torch.load(checkpoint, weights_only=True)["step"] == steps
    losses = [float(line.split("loss ")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert losses[-1] < losses[0]


def test_a_warm_start_begins_with_the_shipped_weights_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    from models.ssr.spec import SSR
    from models.weights import load_state
    from training.ssr.train import TrainPlan, train

    _write_sequence(tmp_path / "wall.npz", 0)
    checkpoint = tmp_path / "checkpoint.pt"
    train(TrainPlan(tmp_path, checkpoint, steps=0, warm=True))
    shipped = load_state(SSR)
    begun = torch.load(checkpoint, weights_only=True)["network"]
    assert set(begun) == set(shipped)
    assert all(np.array_equal(begun[name].numpy(), shipped[name].astype(np.float32)) for name in shipped)
    train(TrainPlan(tmp_path, checkpoint, steps=1, batch=2, crop=32, warm=True))
    resumed = torch.load(checkpoint, weights_only=True)
    assert resumed["step"] == 1
    assert any(not torch.equal(resumed["network"][name], begun[name]) for name in begun)


def test_the_loss_is_nothing_for_the_truth_and_rises_with_error() -> None:
    from training.ssr.losses import sequence_loss

    truth = [torch.rand(1, 3, 32, 32) for _ in range(3)]
    motion = [torch.zeros(1, 2, 32, 32)] * 3
    perfect, error = sequence_loss(truth, truth, motion)
    assert float(perfect) == pytest.approx(0, abs=1e-6)
    assert error == pytest.approx(0, abs=1e-9)
    near, _error = sequence_loss([frame * 1.1 for frame in truth], truth, motion)
    far, _error = sequence_loss([frame * 1.5 for frame in truth], truth, motion)
    assert 0 < float(near) < float(far)


def test_a_linear_mean_is_not_darkened() -> None:
    """A flat wall with heavy-tailed samples: the untrained network's mean stays that of the samples."""
    from models.ssr.network import HISTORY_CHANNELS, SsrNetwork

    torch.manual_seed(0)
    frame = torch.zeros(1, 15, 64, 64)
    frame[:, 3, ::2, ::2] = 1
    frame[:, 0:3] = torch.distributions.Exponential(2.0).sample((1, 1, 64, 64)) * frame[:, 3:4]
    frame[:, 4:7] = 1
    frame[:, 9], frame[:, 12] = 1, 1
    network = SsrNetwork().eval()
    with torch.inference_mode():
        picture, _history = network(frame, torch.zeros(1, HISTORY_CHANNELS, 64, 64))
    sampled = frame[:, 0:3][frame[:, 3:4].expand(-1, 3, -1, -1) > 0].mean()
    assert float(picture.mean()) == pytest.approx(float(sampled), rel=0.1)


def test_a_room_renders_and_its_motion_holds() -> None:
    from training.ssr.backend import MitsubaMissingError

    try:
        from training.ssr.camera import Camera
        from training.ssr.procedural import ProceduralScene
        from training.ssr.render import Renderer

        room = ProceduralScene(1)
    except MitsubaMissingError as error:
        pytest.skip(str(error))
    renderer = Renderer(room.load(0), (48, 32))
    first = room.camera()
    second = Camera(first.origin + np.float32(0.02) * first.basis[0], first.forward, first.up, first.fov_x_deg)
    frames = [renderer.frame(first, first, 0, 1.0, 3), renderer.frame(second, first, 1, 1.0, 3)]
    _check_planes(frames[1])
    np.testing.assert_allclose(frames[0]["motion"], 0, atol=1e-2)
    still = frames[1]["depth"] > 0
    assert (frames[1]["motion"][still][:, 0] > 0).all()  # the camera went right, so things were further right
    inside = still & (frames[1]["motion"][..., 0] < 2)
    nearer = frames[1]["depth"][inside].argsort()
    shift = frames[1]["motion"][inside][:, 0][nearer]
    assert shift[: len(shift) // 4].mean() > shift[-len(shift) // 4 :].mean()


def _check_planes(planes: dict[str, Any]) -> None:
    from models.ssr.preprocess import check_planes

    assert check_planes(planes) == (32, 48)
    assert planes["mask"].sum() == 48 * 32 // 4
    assert (planes["radiance"][planes["mask"] == 0] == 0).all()
    assert planes["albedo"].min() >= 0
    assert planes["albedo"].max() <= 1


def test_held_out_sequences_are_judged_and_never_trained_on(tmp_path: Path) -> None:
    from models.ssr.network import SsrNetwork
    from training.ssr.dataset import SequenceStore
    from training.ssr.validation import validate

    for name in ("living-room-2-000", "room-00021-0", "room-00022-0", "bedroom-001"):
        _write_sequence(tmp_path / f"{name}.npz", 1)
    assert set(SequenceStore(tmp_path, 0).stored) == {"room-00022-0.npz", "bedroom-001.npz"}
    found = validate(SsrNetwork(), tmp_path)
    assert set(found) == {"living-room-2-000", "room-00021-0"}
    assert all(10 < decibels < 60 for decibels in found.values())


def test_batches_begin_before_their_references_and_keep_samples_in_place(tmp_path: Path) -> None:
    from training.ssr.dataset import SequenceStore

    _write_sequence(tmp_path / "wall.npz", 0)
    store = SequenceStore(tmp_path, 0)
    for _ in range(8):
        batch = store.batch(2, 16)
        assert batch.referenced == list(range(batch.frames.shape[0] - 3, batch.frames.shape[0]))
        radiance, mask = batch.frames[:, :, 0:3], batch.frames[:, :, 3:4]
        assert float((radiance * (1 - mask)).abs().max()) == 0
        assert torch.equal(torch.nn.functional.avg_pool2d(mask[0], 2), torch.full((2, 1, 8, 8), 0.25))


def test_an_ablated_part_is_not_seen(tmp_path: Path) -> None:
    from models.ssr.network import SsrNetwork
    from training.ssr.ablation import ROWS, Without, ablate, as_markdown

    network = SsrNetwork().eval()
    frame, history = torch.rand(1, 15, 32, 32), torch.rand(1, 8, 32, 32)
    history[:, 7] = 1
    other = frame.clone()
    other[:, 10] = 0.7
    with torch.inference_mode():
        deaf = Without(network, ("shadow",))
        assert torch.equal(deaf(frame, history)[0], deaf(other, history)[0])
        assert not torch.equal(network(frame, history)[0], network(other, history)[0])
    _write_sequence(tmp_path / "room-00001-0.npz", 0)
    _write_sequence(tmp_path / "room-00002-0.npz", 1)
    found = ablate(tmp_path, network.state_dict())
    assert list(found) == list(ROWS)
    alone, told = found["base"], found["whole"]
    assert alone["room-00001-0"] != told["room-00001-0"]
    assert as_markdown(found).splitlines()[2].startswith("| base |")


def test_each_row_trained_anew_begins_alike_and_is_not_trained_twice(tmp_path: Path) -> None:
    from training.ssr.ablation import ROWS, retrain

    _write_sequence(tmp_path / "room-00001-0.npz", 0)
    _write_sequence(tmp_path / "room-00002-0.npz", 1)
    found = retrain(tmp_path, tmp_path / "work", 0)
    assert list(found) == list(ROWS)
    checkpoints = sorted((tmp_path / "work" / "0-minutes").glob("*.pt"))
    assert len(checkpoints) == len(ROWS)
    first, *others = [torch.load(file, weights_only=True)["network"] for file in checkpoints]
    assert all(torch.equal(other[name], first[name]) for other in others for name in first)
    trained = torch.load(checkpoints[0], weights_only=True)
    trained["average"] = {name: value + 0.5 for name, value in trained["average"].items()}
    torch.save(trained, checkpoints[0])
    again = retrain(tmp_path, tmp_path / "work", 0)
    assert sum(again[name] != found[name] for name in ROWS) == 1


def test_flip_is_nothing_for_the_same_and_rises_with_difference() -> None:
    from training.ssr.perceived import flip

    picture = np.random.default_rng(0).random((32, 48, 3), np.float32)
    assert flip(picture, picture) == 0
    assert 0 < flip(picture * np.float32(1.1), picture) < flip(picture * np.float32(1.6), picture) < 1


def test_the_time_of_a_frame_is_measured_after_the_engine_is_built(tmp_path: Path) -> None:
    from models.engine import EngineConfig, load_engine
    from models.ssr.spec import SSR
    from training.ssr.timing import time_frames

    with load_engine(SSR, EngineConfig(precision="f32", threads=1, cache_dir=tmp_path)) as engine:
        found = time_frames(engine, (64, 48), 3)
    assert 0 < found["median_ms"] <= found["p90_ms"] < found["first_ms"]


def test_a_picture_gets_better_with_the_frames_since_a_restart(tmp_path: Path) -> None:
    from models.engine import EngineConfig, load_engine
    from models.ssr.spec import SSR
    from training.ssr.convergence import as_markdown, converge
    from training.ssr.frames import write_frame
    from training.ssr.sequences import load_planes

    _write_sequence(tmp_path / "wall.npz", 4)
    stored = load_planes(tmp_path / "wall.npz")
    planes = set(stored) - {"reference", "referenced", "meta"}
    for index in range(8):
        layers = {name: stored[name][index] for name in planes}
        layers |= {"reference": stored["reference"][0]} if index == 6 else {}
        write_frame(tmp_path / "wall" / f"{index:04d}.exr", layers)
    with load_engine(SSR, EngineConfig(precision="f32", threads=1, cache_dir=tmp_path / "engines")) as engine:
        found = converge(engine, tmp_path / "wall")
    assert list(found) == ["wall"]
    assert len(found["wall"]) == 7  # the frame after the last reference does not count
    assert found["wall"][-1] > found["wall"][0]
    assert as_markdown(found).splitlines()[0].count("|") == 9
