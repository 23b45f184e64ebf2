"""`foveal render` and the evaluation on a small scene of our own: what is rendered, resumed, sent and judged."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from foveal.cli import app
from foveal.renderer import RendererError
from models.ssr.preprocess import PLANE_CHANNELS
from streams.client import tail
from streams.config import StreamsConfig
from streams.gbuffer import decode_planes
from streams.headers import FrameLimits
from streams.intake import Intake
from streams.records import RawRecord
from streams.topics import ensure_topics
from training.ssr.evaluate import METHODS, NoSequencesError, evaluate, sequences_in
from training.ssr.frames import read_frames
from training.ssr.report import write_report

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]

# A box with a glass ball and a lamp: albedo is 0 on both.
SCENE = """<scene version="3.0.0">
  <integrator type="path"><integer name="max_depth" value="5"/></integrator>
  <sensor type="perspective">
    <float name="fov" value="60"/>
    <transform name="to_world"><lookat origin="0,0,3.5" target="0,0,0" up="0,1,0"/></transform>
    <film type="hdrfilm"><integer name="width" value="64"/><integer name="height" value="48"/></film>
  </sensor>
  <shape type="cube">
    <transform name="to_world"><scale value="4"/></transform>
    <bsdf type="twosided"><bsdf type="diffuse"><rgb name="reflectance" value="0.6,0.5,0.4"/></bsdf></bsdf>
  </shape>
  <shape type="sphere"><float name="radius" value="0.8"/><bsdf type="dielectric"/></shape>
  <shape type="sphere">
    <float name="radius" value="0.4"/><transform name="to_world"><translate x="1.6" y="1.2"/></transform>
    <emitter type="area"><rgb name="radiance" value="12"/></emitter>
  </shape>
</scene>
"""


@pytest.fixture(scope="module", autouse=True)
def renderer() -> None:
    from training.ssr.backend import MitsubaMissingError, load_mitsuba

    try:
        load_mitsuba()
    except MitsubaMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scene") / "ball.xml"
    file.write_text(SCENE)
    return file


@pytest.fixture(scope="module")
def rendered(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered") / "ball"
    summary = call(scene, "--out", out, "--frames", 10, "--size", "64x48", "--reference-spp", 8, "--reference-from", 8)
    assert (summary["frames"], summary["out"]) == (10, str(out))
    return out


def call(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["render", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def test_frames_have_all_planes_and_one_sample_in_a_tile(rendered: Path) -> None:
    frames = list(read_frames(rendered))
    assert [frame.number for frame in frames] == list(range(10))
    assert all(set(frame.planes) == set(PLANE_CHANNELS) for frame in frames)
    assert ["reference" in frame.extras for frame in frames] == [False] * 8 + [True] * 2
    assert ["reference_again" in frame.extras for frame in frames] == [False] * 9 + [True]
    tiles = sum(frame.planes["mask"].reshape(24, 2, 32, 2).sum((1, 3)) for frame in frames[:4])
    assert (tiles == 4).all()
    assert (sum(frame.planes["mask"] for frame in frames[:4]) == 1).all()
    for frame in frames:
        untraced = frame.planes["mask"] == 0
        assert not frame.planes["radiance"][untraced].any()
        assert float(frame.planes["radiance"].max()) <= 20
        assert float(frame.planes["albedo"].min()) > 0.3  # the ball and the lamp are white, not black
    reference = frames[9].extras["reference"]
    assert 0.05 < float(np.median(reference)) < 0.5
    assert not np.array_equal(reference, frames[9].extras["reference_again"])
    moved = frames[5].planes["motion"]
    assert 0 < float(np.abs(moved).mean()) < 16


def test_a_stopped_run_goes_on_and_another_one_is_refused(scene: Path, rendered: Path, tmp_path: Path) -> None:
    asked = ["--frames", 10, "--size", "64x48", "--reference-spp", 8, "--reference-from", 8]
    kept = (rendered / "0003.exr").stat().st_mtime_ns
    whole = (rendered / "0004.exr").read_bytes()
    (rendered / "0004.exr").unlink()
    call(scene, "--out", rendered, *asked)
    assert (rendered / "0003.exr").stat().st_mtime_ns == kept
    assert (rendered / "0004.exr").read_bytes() == whole
    with pytest.raises(RendererError, match=r"holds frames with frames 10, asked for is 11; give another --out"):
        call(scene, "--out", rendered, "--frames", 11, *asked[2:])
    (tmp_path / "bad.xml").write_text("<scene/>")
    with pytest.raises(RendererError, match=r"bad\.xml: Mitsuba cannot render it"):
        call(tmp_path / "bad.xml", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_path_is_followed(scene: Path, rendered: Path, tmp_path: Path) -> None:
    path = rendered / "cameras.json"
    call(scene, "--out", tmp_path / "again", "--camera-path", path, "--frames", 10, "--size", "64x48")
    first, again = (list(read_frames(folder)) for folder in (rendered, tmp_path / "again"))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_allclose(one.planes["depth"], other.planes["depth"], rtol=1e-3)
    assert "reference" not in again[9].extras


@pytest.mark.services
def test_frames_are_streamed_as_they_come(
    kafka: str, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOVEAL_KAFKA__BOOTSTRAP_SERVERS", kafka)
    monkeypatch.chdir(tmp_path)
    config = StreamsConfig(bootstrap_servers=(kafka,))
    ensure_topics(config)
    summary = call(scene, "--out", tmp_path / "ball", "--frames", 2, "--size", "32x32", "--kafka", "--stream", "ball-2")
    assert summary["stream"] == "ball-2"
    stop = threading.Event()
    timer = threading.Timer(30, stop.set)
    timer.start()
    found: list[RawRecord] = []
    for _role, record in tail(config, ("gbuffers",), stop=stop, from_beginning=True):
        found += [record] if record.key == b"ball-2" else []
        if len(found) == 2:
            stop.set()
    timer.cancel()
    received, dead = Intake.for_gbuffers(FrameLimits()).accept(found)
    assert not dead
    assert [(frame.seq, frame.headers.scene) for frame in received] == [(0, "ball-2"), (1, "ball-2")]
    for frame, written in zip(received, read_frames(tmp_path / "ball"), strict=True):
        planes = decode_planes(frame)
        np.testing.assert_array_equal(planes["mask"], written.planes["mask"])
        np.testing.assert_allclose(planes["radiance"], written.planes["radiance"], rtol=1e-3)


def test_every_method_is_judged(rendered: Path, tmp_path: Path) -> None:
    from models.engine import EngineConfig, load_engine
    from models.ssr.spec import SSR

    pytest.importorskip("pyoidn")
    folder = tmp_path / "sequences"
    (folder / "short").mkdir(parents=True)
    (folder / "short" / "0000.exr").write_bytes((rendered / "0000.exr").read_bytes())
    (folder / "ball").symlink_to(rendered)
    with load_engine(SSR, EngineConfig(precision="f32")) as engine:
        result = evaluate(engine, folder, tmp_path)
    assert list(result["left_out"]) == ["short"]
    assert "no frame from the 9th on has a reference" in result["left_out"]["short"]
    found = result["scenes"]["ball"]
    assert found["frames"] == 2
    assert found["floor_db"] > 20
    assert found["methods"]["foveal"]["psnr"] > found["methods"]["temporal"]["psnr"]
    assert found["methods"]["oidn"] == found["methods"][found["oidn_way"]]
    assert list(result["scenes"]) == ["ball"]
    assert (tmp_path / "ball.png").stat().st_size > 10_000
    sheet, picture = (cv2.imread(str(tmp_path / name)) for name in ("ball.png", "ball.jpg"))
    assert picture.shape[1] * 7 == sheet.shape[1] * 4  # input, OIDN, ours, reference
    assert picture.shape[0] < sheet.shape[0]
    text = write_report({**result, "methods": {name: found["methods"][name] for name in METHODS}}, tmp_path)
    assert text.count("\n| ") == len(METHODS)
    assert "- short: left out. " in text
    assert (tmp_path / "results.csv").read_text().count("\nball,") == len(found["methods"])
    for means in found["methods"].values():
        assert set(means) == {"psnr", "ssim", "smape", "temporal", "flip", "ms"}


def test_what_cannot_be_judged_is_said(rendered: Path, tmp_path: Path) -> None:
    with pytest.raises(NoSequencesError, match="no sequences"):
        sequences_in(tmp_path)
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "0000.exr").write_bytes((rendered / "0000.exr").read_bytes())
    with pytest.raises(NoSequencesError, match="no frame from the 9th on has a reference"):
        evaluate(None, tmp_path)  # type: ignore[arg-type]
