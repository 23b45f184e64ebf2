"""`foveal express` on the talking face that the demo plays, with the shipped networks, and on what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.privacy import measure
from foveal.cli import app
from foveal.demo.inputs import talking_face
from foveal.media import SourceError, SourceFrame, open_source
from foveal.privacy import FAINT_SCORE, hidden_frames
from foveal.videofile import VideoFile
from models.detection import DETECTION_NANO, Detector
from models.engine import EngineConfig, load_engine
from models.expression import EXPRESSIONS


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_HOME", str(tmp_path / "home"))


def frames(count: int, first: int = 0) -> list[np.ndarray]:
    return [one.image_bgr for one in open_source(str(talking_face()))][first : first + count]


def call(*arguments: object, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["express", *map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def lines_of(out: Path, name: str = "faces.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def write_clip(path: Path, pictures: list[np.ndarray]) -> Path:
    with VideoFile(path, 30) as video:
        for picture in pictures:
            video.write(picture)
    return path


def test_a_clip_gives_lines_events_a_timeline_and_a_clip_that_plays(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", frames(30))
    summary = call(clip, "--out", tmp_path / "out")
    assert (summary["frames"], summary["frames_with_a_face"], summary["ended_early"]) == (30, 30, None)
    lines = lines_of(tmp_path / "out")
    assert [line["frame"] for line in lines] == list(range(30))
    assert lines[29]["time_s"] == pytest.approx(29 / 30, abs=0.01)
    faces = [line["faces"][0] for line in lines]
    assert len({face["track_id"] for face in faces[2:]}) == 1
    for face in faces:
        assert set(face["raw"]["probabilities"]) == set(EXPRESSIONS)
        assert sum(face["raw"]["probabilities"].values()) == pytest.approx(1, abs=2e-3)
        assert 0 <= face["raw"]["uncertainty"] <= 1
        assert sum(face["crowd"].values()) == pytest.approx(1, abs=5e-3)
    flicker = [
        np.abs(np.diff([list(face[kind]["probabilities"].values()) for face in faces[3:]], axis=0)).sum()
        for kind in ("raw", "smoothed")
    ]
    assert flicker[1] < flicker[0]
    assert lines_of(tmp_path / "out", "events.jsonl") == summary["events"]
    assert summary["events"][0]["from"] is None
    assert len(list(open_source(str(tmp_path / "out" / "annotated.mp4")))) == 30
    timeline = cv2.imread(str(tmp_path / "out" / "timeline.png"))
    assert timeline.shape[1] > 800
    assert len(np.unique(timeline.reshape(-1, 3), axis=0)) > 50  # curves in colour


@pytest.mark.parametrize("kind", ["colour", "grey", "16 bit"])
def test_a_picture_is_read_whatever_its_depth(tmp_path: Path, kind: str) -> None:
    picture = frames(1, 70)[0]
    if kind == "grey":
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    elif kind == "16 bit":
        picture = picture.astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "in.png"), picture)
    summary = call(tmp_path / "in.png", "--out", tmp_path / "out")
    assert (summary["frames"], summary["readings"]) == (1, 1)
    [line] = lines_of(tmp_path / "out")
    assert line["faces"][0]["unreadable"] is None
    assert line["faces"][0]["raw"]["label"] in EXPRESSIONS
    assert cv2.imread(str(tmp_path / "out" / "annotated.png")).shape == (576, 704, 3)
    assert not (tmp_path / "out" / "timeline.png").exists()


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (200, 200)])
def test_no_face_is_a_result(tmp_path: Path, size: tuple[int, int]) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), np.full((*size, 3), 127, np.uint8))
    summary = call(tmp_path / "in.png", "--out", tmp_path / "out")
    assert (summary["frames"], summary["frames_with_a_face"]) == (1, 0)
    assert lines_of(tmp_path / "out") == [{"frame": 0, "time_s": 0.0, "faces": []}]
    assert (tmp_path / "out" / "annotated.png").is_file()


def test_a_clip_without_a_face_has_an_empty_timeline(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", [np.full((64, 64, 3), 127, np.uint8)] * 5)
    summary = call(clip, "--out", tmp_path / "out")
    assert (summary["frames"], summary["tracks"], summary["events"]) == (5, 0, [])
    assert (tmp_path / "out" / "timeline.png").is_file()


def test_a_face_cut_by_the_border_is_unreadable_not_a_guess(tmp_path: Path) -> None:
    picture = frames(1, 70)[0]
    [face] = read_picture(tmp_path / "whole", picture)
    middle = int((face["box_xyxy"][0] + face["box_xyxy"][2]) / 2)
    for name, part in (("right", picture[:, : middle - 4]), ("left", picture[:, middle + 4 :])):
        for cut in read_picture(tmp_path / name, np.ascontiguousarray(part)):
            assert cut["unreadable"] == "out of frame"
            assert cut["raw"] is None


def read_picture(folder: Path, picture: np.ndarray) -> list[dict[str, Any]]:
    folder.mkdir()
    cv2.imwrite(str(folder / "in.png"), picture)
    call(folder / "in.png", "--out", folder / "out")
    faces: list[dict[str, Any]] = lines_of(folder / "out")[0]["faces"]
    return faces


def test_a_video_that_ends_in_the_middle_of_a_frame_keeps_what_came_before(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", frames(40))
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * 2 // 3])
    summary = call(clip, "--out", tmp_path / "out", code=1)
    assert 0 < summary["frames"] < 40
    assert summary["ended_early"]
    assert len(lines_of(tmp_path / "out")) == summary["frames"]
    assert len(list(open_source(str(tmp_path / "out" / "annotated.mp4")))) == summary["frames"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"not a video at all" * 99, "cannot be opened as video"),
        ("text.png", b"not a picture", "is not a picture that can be read"),
    ],
)
def test_what_is_no_picture_or_video_is_said(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=said):
        call(tmp_path / name, "--out", tmp_path / "out")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="expected a picture or a video file"):
        call(tmp_path / "nowhere.png", "--out", tmp_path / "out")


def test_a_stream_s_rule_says_what_is_computed_and_hidden(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "perception:\n  streams:\n    - {match: quiet, compute: [people]}\n    - {match: door, privacy: pixelate}\n"
    )
    cv2.imwrite(str(tmp_path / "in.png"), frames(1)[0])
    where = (tmp_path / "in.png", "--out", tmp_path / "out", "--config", settings)
    refused = CliRunner().invoke(app, ["express", *map(str, where), "--stream", "quiet"])
    assert refused.exit_code == 2
    assert not (tmp_path / "out").exists()
    assert call(*where, "--stream", "door")["privacy"] == "pixelate"
    assert call(*where, "--stream", "door", "--privacy", "none")["privacy"] == "none"


@pytest.mark.parametrize("privacy", ["blur", "pixelate"])
def test_our_detector_finds_no_face_where_faces_were_hidden(privacy: str) -> None:
    with load_engine(DETECTION_NANO, EngineConfig(threads=2), from_uint8=True) as engine:
        detector = Detector(engine, threshold=FAINT_SCORE)
        clip = (SourceFrame(image, index, index / 30) for index, image in enumerate(frames(30, 45)))
        result = measure(iter([clip]), detector, lambda image: detector.detect([image])[0], privacy, most=99)
    assert (result["frames"], result["frames_with_a_face"]) == (30, 30)
    assert result["hits"] == 0


def test_the_demo_s_clips_hide_what_the_rule_says() -> None:
    plain = frames(4)
    left, top, right, bottom = 75, 50, 100, 85  # well inside of the face
    hidden = list(hidden_frames(plain, 30, "blur"))
    assert len(hidden) == 4
    for before, after in zip(plain, hidden, strict=True):
        assert (before[top:bottom, left:right] != after[top:bottom, left:right]).mean() > 0.9
        assert (before[:, -20:] == after[:, -20:]).all()
    for before, after in zip(plain, hidden_frames(plain, 30, "none"), strict=True):
        np.testing.assert_array_equal(before, after)


def test_help_has_examples_and_points_to_the_limits() -> None:
    text = CliRunner().invoke(app, ["express", "--help"]).stdout
    assert "foveal express" in text
    assert "docs/expressions.md" in text
