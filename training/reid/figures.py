"""Drawn figures: people who do not exist, from several cameras. What a network must not unlearn is measured on them.

No picture of a person may lie in this repository, and a site shows only its own people, light and cameras. Figures
have the clothes, hair, bags and builds that tell people apart, each seen in the light of six cameras, and are drawn
anew from a seed: always the same, and of no site. Needs no torch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["drawn_people"]

PEOPLE, CAMERAS = 60, 6
HEIGHT, WIDTH = 128, 64
SEED = 11
Colour = tuple[float, float, float]
_SKIN = np.array([[150, 180, 225], [110, 150, 200], [70, 100, 150], [45, 65, 100]], np.float64)
_HAIR = np.array([[20, 20, 25], [30, 50, 80], [60, 110, 160], [130, 190, 220], [150, 150, 150]], np.float64)
_CLOTHES = np.array(
    [
        [25, 25, 25],
        [230, 230, 230],
        [130, 130, 130],
        [40, 40, 180],
        [160, 70, 40],
        [60, 130, 50],
        [40, 200, 220],
        [140, 60, 130],
        [80, 110, 150],
        [190, 160, 110],
    ],
    np.float64,
)


@dataclass(frozen=True, slots=True)
class _Person:
    """What stays the same from view to view; colours BGR 0-255."""

    skin: Colour
    hair: Colour
    long_hair: bool
    top: Colour
    second: Colour
    pattern: int
    long_sleeves: bool
    lower: Colour
    kind: int
    shoes: Colour
    bag: int
    bag_colour: Colour
    width: float


@dataclass(frozen=True, slots=True)
class _Camera:
    """Light and ground of one place."""

    ground: Colour
    wall: Colour
    cast: NDArray[np.float64]
    gain: float
    blur: float


@functools.cache
def drawn_people() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Crops uint8 [360, 128, 64, 3] BGR of 60 people by 6 cameras, and the number of person and camera of each."""
    generator = np.random.default_rng(SEED)
    cameras = [_camera(generator) for _ in range(CAMERAS)]
    people = [_person(generator) for _ in range(PEOPLE)]
    crops = [_view(person, camera, generator) for person in people for camera in cameras]
    numbers = np.arange(len(crops))
    drawn = np.stack(crops), numbers // CAMERAS, numbers % CAMERAS
    for array in drawn:
        array.flags.writeable = False  # they are the same for every caller
    return drawn


def _person(generator: np.random.Generator) -> _Person:
    def of(colours: NDArray[np.float64], spread: float = 14) -> Colour:
        return _colour(colours[generator.integers(len(colours))] + generator.normal(0, spread, 3))

    return _Person(
        skin=of(_SKIN, 5),
        hair=of(_HAIR, 8),
        long_hair=bool(generator.random() < 0.45),
        top=of(_CLOTHES),
        second=of(_CLOTHES),
        pattern=int(generator.choice(4, p=(0.55, 0.15, 0.15, 0.15))),
        long_sleeves=bool(generator.random() < 0.5),
        lower=of(_CLOTHES),
        kind=int(generator.choice(3, p=(0.55, 0.25, 0.2))),
        shoes=of(_CLOTHES),
        bag=int(generator.choice(3, p=(0.5, 0.3, 0.2))),
        bag_colour=of(_CLOTHES),
        width=float(generator.uniform(0.85, 1.2)),
    )


def _camera(generator: np.random.Generator) -> _Camera:
    return _Camera(
        ground=_colour(generator.uniform(100, 190) + generator.normal(0, 8, 3)),
        wall=_colour(generator.uniform(90, 200) + generator.normal(0, 12, 3)),
        cast=generator.uniform(0.92, 1.08, 3),
        gain=float(generator.uniform(0.75, 1.1)),
        blur=float(generator.uniform(0.5, 1.3)),
    )


def _view(person: _Person, camera: _Camera, generator: np.random.Generator) -> NDArray[np.uint8]:
    """One picture, drawn at twice its size and made smaller."""
    image = np.empty((2 * HEIGHT, 2 * WIDTH, 3), np.float64)
    horizon = int(2 * HEIGHT * generator.uniform(0.5, 0.75))
    image[:horizon], image[horizon:] = camera.wall, camera.ground
    image += cv2.resize(generator.normal(0, 10, (16, 8, 3)), (2 * WIDTH, 2 * HEIGHT))
    for _ in range(3):  # things that stand around
        left, top = generator.integers(0, 2 * WIDTH), generator.integers(0, horizon)
        corner = (int(left + generator.integers(8, 50)), int(top + generator.integers(20, 120)))
        cv2.rectangle(
            image, (int(left), int(top)), corner, _colour(generator.uniform(60, 200) + generator.normal(0, 15, 3)), -1
        )
    _draw(image, person, generator)
    folds = cv2.resize(generator.normal(1, 0.12, (32, 12, 1)), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(image * folds[..., None], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), camera.blur)
    lit = small * camera.cast * camera.gain * generator.uniform(0.85, 1.15) + generator.normal(0, 4, small.shape)
    return np.asarray(lit.clip(0, 255), np.uint8)


def _draw(image: NDArray[np.float64], person: _Person, generator: np.random.Generator) -> None:
    """The figure in some pose, from the front, the side or behind."""
    turned = generator.choice((1.0, 0.7, 0.95))
    half = 23 * person.width * turned
    x, y = WIDTH + generator.uniform(-7, 7), generator.uniform(8, 20)
    zoom = generator.uniform(0.92, 1.05)
    stride, swing = generator.uniform(2, 16), generator.uniform(-8, 10)

    def at(dx: float, dy: float) -> tuple[int, int]:
        return round(x + dx * zoom), round(y + dy * zoom)

    def limb(start: tuple[float, float], end: tuple[float, float], colour: Colour, thick: float) -> None:
        cv2.line(image, at(*start), at(*end), colour, max(1, round(thick * zoom)), cv2.LINE_AA)

    def box(left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        cv2.rectangle(image, at(left, top), at(right, bottom), colour, -1)

    if person.bag == 1 and turned > 0.7:  # a backpack looks out at the sides
        box(-half - 5, 42, half + 5, 88, person.bag_colour)
    for side in (-1, 1):
        hip, foot = (side * half * 0.45, 108.0), (side * (half * 0.4 + stride), 214.0)
        knee = ((hip[0] + foot[0]) / 2, 160.0)
        covered = foot if person.kind == 0 else knee
        limb(hip, foot, person.skin, 11)
        limb(hip, covered, person.lower, 17)
        limb((foot[0], 212), (foot[0] + 4 * side, 218), person.shoes, 12)
        hand = (side * (half + 8 + swing), 112.0)
        elbow = (side * (half + 6 + swing / 2), 76.0)
        limb((side * half, 44), hand, person.skin, 9)
        limb((side * half, 44), hand if person.long_sleeves else elbow, person.top, 12)
    if person.kind == 2:
        corners = [at(-half, 100), at(half, 100), at(half + 10, 160), at(-half - 10, 160)]
        cv2.fillPoly(image, [np.array(corners, np.int32)], person.lower)
    box(-half, 38, half, 112, person.top)
    if person.pattern == 1:
        for row in range(44, 112, 14):
            box(-half, row, half, row + 5, person.second)
    elif person.pattern == 2:
        box(-half, 76, half, 112, person.second)
    elif person.pattern == 3 and turned > 0.7:
        box(-half * 0.45, 52, half * 0.45, 78, person.second)
    if person.bag == 2:
        limb((-half, 42), (half, 104), person.bag_colour, 4)
        box(half - 4, 98, half + 16, 124, person.bag_colour)
    cv2.circle(image, at(0, 20), round(14 * zoom), person.skin, -1, cv2.LINE_AA)
    behind = turned == 0.95
    cv2.ellipse(image, at(0, 14), (round(15 * zoom), round((19 if behind else 11) * zoom)), 0, 0, 360, person.hair, -1)
    if person.long_hair:
        for side in (-1, 1):
            limb((side * 11, 14), (side * 12, 44), person.hair, 8)


def _colour(values: NDArray[np.float64]) -> Colour:
    blue, green, red = (float(one) for one in np.clip(values, 0, 255))
    return blue, green, red
