"""Sources of frames: what opens, in which order, and what a bad address says."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from foveal.demo.inputs import InputMissingError, talking_face, walkers
from foveal.media import SourceError, open_source
from foveal.videofile import VideoFile


def test_a_video_written_picture_by_picture_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with VideoFile(path, 12.5) as video:
        for level in range(0, 250, 25):
            video.write(np.full((65, 49, 3), level, np.uint8))
    source = open_source(str(path))
    frames = list(source)
    assert (source.fps, source.frames, len(frames)) == (12.5, 10, 10)
    assert frames[0].image_bgr.shape == (64, 48, 3), "odd sides are cut"
    means = [frame.image_bgr.mean() for frame in frames]
    assert np.allclose(means, range(0, 250, 25), atol=6)
    assert frames[5].time_s == pytest.approx(5 / 12.5)


def test_a_video_refuses_a_picture_of_another_size_and_leaves_no_part_file(tmp_path: Path) -> None:
    with VideoFile(tmp_path / "clip.mp4", 10) as video:
        video.write(np.zeros((32, 32, 3), np.uint8))
        with pytest.raises(ValueError, match="expected pictures of"):
            video.write(np.zeros((64, 32, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_folder_plays_its_pictures_by_name(tmp_path: Path) -> None:
    for name, level in (("b.png", 20), ("a.jpg", 10), ("c.png", 30)):
        cv2.imwrite(str(tmp_path / name), np.full((16, 16, 3), level, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    assert [round(float(frame.image_bgr.mean())) for frame in open_source(str(tmp_path))] == [10, 20, 30]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "none.mp4", "is not there"),
        (lambda folder: folder, "holds no picture"),
        (lambda folder: _text_as(folder / "clip.mp4"), "cannot be opened as video"),
        (lambda folder: _text_as(folder / "one.png"), "not a picture that can be read"),
    ],
)
def test_a_bad_address_says_what_is_wrong(tmp_path: Path, make, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SourceError, match=says):
        list(open_source(str(make(tmp_path))))


def test_the_talking_face_comes_with_the_packages() -> None:
    source = open_source(str(talking_face()))
    assert (source.frames, round(source.fps, 2)) == (120, 29.97)
    assert next(iter(source)).image_bgr.shape == (144, 176, 3)


def test_walkers_without_apt_are_left_out_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputMissingError, match="no apt-get"):
        walkers(tmp_path / "cache")


def _text_as(path: Path) -> Path:
    path.write_text("this is text")
    return path
