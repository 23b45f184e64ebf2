"""The reconstruction step with the trained network: histories, resets, batches, outputs, and what bad planes get.

No broker: records are made as the intake makes them. Through Kafka and Serve the same step runs in tests/e2e.
"""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.config import ReconstructionConfig
from actors.endings import Endings
from actors.metrics import LoopStats
from actors.reconstruction import ReconstructionStep
from models.engine import load_engine
from models.ssr import SSR, Reconstructor
from streams.cloudevents import parse_result
from streams.codec import decode_half
from streams.exr import decode_exr_image
from streams.gbuffer import encode_planes
from streams.headers import GBufferCodec, PlaneCodec, SentGBufferHeaders, encode
from streams.intake import Intake
from streams.outcomes import EndedBatch
from streams.records import GBufferRecord, Origin, RawRecord

WIDTH, HEIGHT = 48, 32


@pytest.fixture(scope="module")
def reconstructor() -> Reconstructor:
    return Reconstructor(load_engine(SSR))


@pytest.fixture
def step(reconstructor: Reconstructor) -> ReconstructionStep:
    return ReconstructionStep(ReconstructionConfig(), reconstructor, LoopStats())


def planes(seq: int, size_wh: tuple[int, int] = (WIDTH, HEIGHT)) -> dict[str, NDArray[Any]]:
    """A grey wall lit from the left, a quarter of its pixels traced."""
    width, height = size_wh
    rng = np.random.default_rng(seq)
    mask = np.zeros((height, width), np.uint8)
    mask[(seq // 2) % 2 :: 2, seq % 2 :: 2] = 1
    light = np.linspace(0.2, 0.8, width, dtype=np.float32)[None, :, None] * rng.uniform(0.5, 1.5, (height, width, 1))
    flat = np.ones((height, width), np.float32)
    return {
        "radiance": (light * mask[..., None] * np.ones(3)).astype(np.float32),
        "mask": mask,
        "albedo": np.full((height, width, 3), 0.6, np.float32),
        "normal": np.broadcast_to(np.float32([0, 0, 1]), (height, width, 3)).copy(),
        "shadow": np.zeros((height, width, 3), np.float32),
        "transparent": np.zeros((height, width, 3), np.float32),
        "depth": flat * 3,
        "metallic": flat * 0,
        "roughness": flat,
        "motion": np.zeros((height, width, 2), np.float32),
    }


def raw_of(value: bytes, described: Any, seq: int, stream: str, shape: tuple[int, ...], **headers: Any) -> RawRecord:
    about = {"seq": seq, "captured_at_ns": time.time_ns(), "width": shape[1], "height": shape[0], **headers}
    sent = SentGBufferHeaders(codec=GBufferCodec.PLANES, planes=described, **about)
    origin = Origin("gbuffers", sum(stream.encode()) % 7, seq)
    return RawRecord(origin, stream.encode(), tuple(encode(sent)), value, time.time_ns() // 1_000_000)


def raw(seq: int, stream: str = "room", size_wh: tuple[int, int] = (WIDTH, HEIGHT), **headers: Any) -> RawRecord:
    value, described = encode_planes(planes(seq, size_wh), PlaneCodec.LZ4)
    return raw_of(value, described, seq, stream, (size_wh[1], size_wh[0], 3), **headers)


def whole(*raws: RawRecord) -> list[GBufferRecord]:
    frames, dead = Intake.for_gbuffers().accept(raws)
    assert not dead
    return frames


def record(seq: int, stream: str = "room", size_wh: tuple[int, int] = (WIDTH, HEIGHT), **headers: Any) -> GBufferRecord:
    return whole(raw(seq, stream, size_wh, **headers))[0]


def run(step: ReconstructionStep, *frames: GBufferRecord) -> EndedBatch:
    endings = Endings(lambda _: None)
    prepared = step.prepare(frames, endings)
    if prepared is not None:
        step.infer(prepared, endings)
    return endings.build(LoopStats(), time.time_ns() // 1_000_000)


def told(batch: EndedBatch) -> list[tuple[int, int, str | None]]:
    read = [parse_result(result.headers, result.value).result for result in batch.results]
    return [(one.seq, one.history_frames, one.reset_reason) for one in read]  # type: ignore[union-attr]


def test_history_grows_and_each_reset_says_why(step: ReconstructionStep) -> None:
    frames = [record(0), record(1), record(2), record(4), record(5, scene="hall"), record(6, scene="hall")]
    frames += [record(7, size_wh=(32, 32), scene="hall"), record(8, size_wh=(32, 32), scene="hall", history="none")]
    assert told(run(step, *frames)) == [
        (0, 0, "first_frame"), (1, 1, None), (2, 2, None), (4, 0, "gap"), (5, 0, "scene"), (6, 1, None),
        (7, 0, "size"), (8, 0, "requested"),
    ]  # fmt: skip


def test_a_stream_taken_over_says_rebalance_and_one_that_left_is_forgotten(step: ReconstructionStep) -> None:
    assert told(run(step, record(40), record(41))) == [(40, 0, "rebalance"), (41, 1, None)]
    assert step.streams == 1
    step.forget_inferred([("gbuffers", sum(b"room") % 7)])
    assert step.streams == 0
    assert told(run(step, record(42))) == [(42, 0, "rebalance")]


def test_streams_of_one_size_share_a_batch_and_get_what_they_get_alone(reconstructor: Reconstructor) -> None:
    def images(streams: tuple[str, ...]) -> dict[tuple[str, int], bytes]:
        step = ReconstructionStep(ReconstructionConfig(), reconstructor, LoopStats())
        found: dict[tuple[str, int], bytes] = {}
        for seq in range(3):
            batch = run(step, *(record(seq, stream, output="half") for stream in streams))
            found |= {(result.key.decode(), seq): result.value for result in batch.results}
        return found

    together, alone = images(("a", "b", "c")), images(("b",))
    for place, value in alone.items():
        mine, shared = (decode_half(one, WIDTH, HEIGHT) for one in (value, together[place]))
        assert np.allclose(mine, shared, atol=2e-3)


def test_a_flat_wall_comes_out_whole_and_brighter_to_the_right(step: ReconstructionStep) -> None:
    batch = run(step, *(record(seq, output="half") for seq in range(8)))
    picture = decode_half(batch.results[-1].value, WIDTH, HEIGHT).astype(np.float32)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert np.isfinite(picture).all()
    assert (picture.mean((1, 2)) > 0.05).all(), "no row is left black where nothing was traced"
    assert picture[:, -8:].mean() > 1.5 * picture[:, :8].mean()


@pytest.mark.parametrize("output", ["png", "jpeg", "exr", "half"])
def test_each_output_decodes_to_the_frame_s_size(step: ReconstructionStep, output: str) -> None:
    value = run(step, record(0, output=output)).results[0].value
    if output in ("png", "jpeg"):
        shape = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_COLOR).shape
    else:
        decode = decode_exr_image if output == "exr" else decode_half
        shape = decode(value, WIDTH, HEIGHT).shape
    assert shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_radiance_that_is_not_finite_is_one_dead_letter_and_its_neighbours_go_on(
    step: ReconstructionStep, bad: float
) -> None:
    value, described = encode_planes(planes(1), PlaneCodec.RAW)
    spoiled = bytearray(value)
    spoiled[:2] = np.float16(bad).tobytes()  # a producer of ours would refuse it
    bad_record = raw_of(bytes(spoiled), described, 1, "b", (HEIGHT, WIDTH, 3))
    batch = run(step, *whole(raw(0, "a"), bad_record, raw(0, "c")))
    assert sorted(result.key for result in batch.results) == [b"a", b"c"]
    assert [dead.error for dead in batch.deadletters] == ["PlaneError"]
    assert "radiance" in batch.deadletters[0].message


def test_planes_whose_shapes_disagree_are_found_before_they_are_unpacked() -> None:
    value, described = encode_planes(planes(0), PlaneCodec.RAW)
    narrower = tuple(
        one.model_copy(update={"shape": (HEIGHT, WIDTH // 2, 6)}) if one.name == "albedo" else one for one in described
    )
    frames, dead = Intake.for_gbuffers().accept([raw_of(value, narrower, 0, "b", (HEIGHT, WIDTH, 3)), raw(1, "a")])
    assert [frame.stream_id for frame in frames] == ["a"]
    assert [one.error for one in dead] == ["PlaneError"]
    assert "albedo" in dead[0].message
