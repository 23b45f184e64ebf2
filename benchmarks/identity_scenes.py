"""The scenes of `benchmarks.identities`: timed frames of one or more streams, with who is there.

`room`, `room-other`, `shop` and `street` are real clips. Who "comes back" in room and shop is the same clip played
again after 15 s, longer than the tracker remembers; of the room every second frame, which leaves 5 a second. In
`room-other` it is played for a second camera, mirrored, smaller, darker, with other colours and coarse JPEG: that is
synthetic. In `street` people leave and come back by themselves. `campus` is synthetic in its motion only: the crops of
Market-1501's held-out people, whom the ReID network never saw, as two real cameras took them, shown in order on a plain
ground, each camera a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.visits import There, Visits
from foveal.demo.inputs import walkers
from foveal.media import open_source
from foveal.settings import home_folder
from training.reid.data import CropSet, development_split, read_crops

__all__ = ["SCENES", "Moment", "Passage", "campus", "passages", "walk_by"]

ROOM, SHOP, STREET = "one-by-one-person-detection.mp4", "store-aisle-detection.gif", "vtest.avi"
CROPS = "reid/market1501_600ids.tar"
PAUSE_S = 15.0
CANVAS_WH, PERSON_WH = (640, 360), (96, 192)
FPS, FRAMES_A_CROP, EMPTY_FRAMES, BREAK_S = 10.0, 4, 3, 1.7
LEAST_CROPS, MOST_CROPS = 3, 4
MOST_PEOPLE = 40

Image = NDArray[np.uint8]
Change = Callable[[Image, list[There]], tuple[Image, list[There]]]


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame, uint8 [H, W, 3] BGR, of a stream at a time from the scene's begin; with the people told of."""

    stream: str
    at_s: float
    image_bgr: Image
    there: list[There]


@dataclass(frozen=True, slots=True)
class Passage:
    """One stream's frames, lazily."""

    stream: str
    fps: float
    moments: Iterator[Moment]


def passages(scene: str, data: Path) -> list[Passage]:
    """The streams of a scene. Raises: FileNotFoundError (InputMissingError for the street) where its data is absent."""
    return SCENES[scene](data)


def campus(crops: CropSet) -> list[Passage]:
    """Each person walks by one of his cameras, and then, in another order, by a second one."""
    rng, slots = np.random.default_rng(0), []
    ways = {one: rng.permutation(_cameras(crops, one)).tolist() for one in np.unique(crops.identities).tolist()}
    seen_twice = rng.permutation([one for one, cameras in ways.items() if len(cameras) > 1])[:MOST_PEOPLE]
    free_s = dict.fromkeys(range(int(crops.cameras.max()) + 1), 0.0)
    for visit in (0, 1):
        free_s = dict.fromkeys(free_s, max(free_s.values()))  # nobody comes back before all were there
        for one in rng.permutation(seen_twice).tolist():
            camera = ways[one][visit]
            rows = _rows(crops, one, camera)
            slots.append((f"camera-{camera}", free_s[camera], f"{one:04d}", visit, rows))
            free_s[camera] += (len(rows) * FRAMES_A_CROP + EMPTY_FRAMES) / FPS + BREAK_S
    found = []
    for stream in sorted({slot[0] for slot in slots}):
        mine = [slot for slot in slots if slot[0] == stream]
        walks = [
            walk_by(stream, begins_s, who, visit, crops.images[rows], left_px=60 if n % 2 else 440)
            for n, (_, begins_s, who, visit, rows) in enumerate(mine)
        ]
        found.append(Passage(stream, FPS, chain.from_iterable(walks)))
    return found


def walk_by(
    stream: str, begins_s: float, who: str, visit: int, images: NDArray[np.uint8], *, left_px: int
) -> Iterator[Moment]:
    """A person's crops uint8 [N, H, W, 3] on a ground of their own colour, some frames each; then nobody."""
    width, height = PERSON_WH
    top = (CANVAS_WH[1] - height) // 2
    ground = np.median(images.reshape(-1, 3), axis=0).astype(np.uint8)
    shown = len(images) * FRAMES_A_CROP
    for frame in range(shown + EMPTY_FRAMES):
        image = np.full((CANVAS_WH[1], CANVAS_WH[0], 3), ground, np.uint8)
        there = []
        if frame < shown:
            left = left_px + 3 * frame
            crop = cv2.resize(images[frame // FRAMES_A_CROP], PERSON_WH, interpolation=cv2.INTER_CUBIC)
            image[top : top + height, left : left + width] = crop
            there = [There(who, visit, (left, top, left + width, top + height))]
        yield Moment(stream, begins_s + frame / FPS, image, there)


def _room(data: Path) -> list[Passage]:
    return [_played("room", data / "video" / ROOM, times=2, every=2)]


def _room_other(data: Path) -> list[Passage]:
    path = data / "video" / ROOM
    later_s = _length_s(path) + PAUSE_S
    hall = _played("hall", path, begins_s=later_s, play=1, every=2, change=_other_camera)
    return [_played("room", path, every=2), hall]


def _shop(data: Path) -> list[Passage]:
    return [_played("shop", data / "video" / SHOP, times=3)]


def _street(_: Path) -> list[Passage]:
    return [_played("street", walkers(home_folder() / "media"))]


def _campus(data: Path) -> list[Passage]:
    _, held_out = development_split(read_crops(data / CROPS))
    return campus(held_out)


SCENES: dict[str, Callable[[Path], list[Passage]]] = {
    "room": _room,
    "room-other": _room_other,
    "shop": _shop,
    "street": _street,
    "campus": _campus,
}


def _played(
    stream: str,
    path: Path,
    *,
    begins_s: float = 0.0,
    times: int = 1,
    play: int = 0,
    every: int = 1,
    change: Change | None = None,
) -> Passage:
    """A labelled clip, `times` over with a pause between; `every` so many frames one."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; give the folder of the clips with --data")
    visits, period_s = Visits.of(path.name), _length_s(path) + PAUSE_S

    def moments() -> Iterator[Moment]:
        for turn in range(times):
            for frame in open_source(str(path)):
                if frame.index % every:
                    continue
                image, there = frame.image_bgr, visits.at(frame.index, play=play + turn)
                if change is not None:
                    image, there = change(image, there)
                yield Moment(stream, begins_s + turn * period_s + frame.time_s, image, there)

    return Passage(stream, open_source(str(path)).fps / every, moments())


def _length_s(path: Path) -> float:
    return max(frame.time_s for frame in open_source(str(path)))


def _other_camera(image: Image, there: list[There]) -> tuple[Image, list[There]]:
    scale, width = 0.7, image.shape[1]
    smaller = cv2.resize(image[:, ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tinted = np.clip(smaller * np.array([0.85, 0.75, 0.65]), 0, 255).astype(np.uint8)
    coarse = cv2.imdecode(cv2.imencode(".jpg", tinted, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
    people = []
    for one in there:
        left, top, right, bottom = one.box_xyxy
        box = ((width - right) * scale, top * scale, (width - left) * scale, bottom * scale)
        people.append(There(one.person, one.visit, box))
    return np.asarray(coarse, np.uint8), people


def _cameras(crops: CropSet, identity: int) -> list[int]:
    """Those that took a person often enough."""
    cameras, counts = np.unique(crops.cameras[crops.identities == identity], return_counts=True)
    return [int(camera) for camera, count in zip(cameras, counts, strict=True) if count >= LEAST_CROPS]


def _rows(crops: CropSet, identity: int, camera: int) -> Sequence[int]:
    rows = np.flatnonzero((crops.identities == identity) & (crops.cameras == camera))
    return [int(row) for row in rows[:MOST_CROPS]]
