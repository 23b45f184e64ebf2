"""Faces that are hidden stay hidden: while the detector misses them, before it finds them, and where they moved."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.privacy import FAINT_SCORE, Veil, faces_and_heads, hide_faces
from models.detection import FACE, PERSON, Detections

FPS = 25
SIDE = 120


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def found_as(rows: np.ndarray, score: float = 0.9) -> Detections:
    count = len(rows)
    marks = np.full((count, 5, 2), np.nan, np.float32)
    return Detections(rows, np.full(count, score, np.float32), np.full(count, FACE), marks)


def played(privacy: str, faces: list[np.ndarray], scores: list[float] | None = None) -> list[np.ndarray]:
    """What comes out for one picture shown again and again, with these faces found in it."""
    scores = scores or [0.9] * len(faces)
    veil: Veil[int] = Veil(privacy)  # type: ignore[arg-type]
    out = []
    for index, (found, score) in enumerate(zip(faces, scores, strict=True)):
        out += veil.add(index / FPS, noise(), found_as(found, score), index)
    out += veil.finish()
    assert [index for _, index in out] == list(range(len(faces)))
    return [picture for picture, _ in out]


def hidden(picture: np.ndarray, face: tuple[int, int, int, int]) -> bool:
    left, top, right, bottom = face
    same = (picture == noise())[top:bottom, left:right].all(axis=2)
    return float(same.mean()) < 0.02


@pytest.mark.parametrize("privacy", ["blur", "pixelate"])
def test_nothing_fine_is_left_of_a_face_and_the_rest_is_untouched(privacy: str) -> None:
    image = noise()
    out = hide_faces(image, boxes((30, 30, 70, 80)), privacy)  # type: ignore[arg-type]
    part = out[30:80, 30:70].astype(float)
    assert part.std() < 0.3 * image[30:80, 30:70].std()
    assert np.abs(np.diff(part, axis=1)).mean() < 6
    out[30:80, 30:70] = image[30:80, 30:70]
    np.testing.assert_array_equal(out, image)


def test_none_leaves_pictures_as_they_are_and_holds_none_back() -> None:
    veil: Veil[None] = Veil("none")
    [(picture, _)] = veil.add(0.0, noise(), found_as(boxes((10, 10, 50, 50))), None)
    np.testing.assert_array_equal(picture, noise())
    assert veil.finish() == []


def test_a_box_beyond_the_frame_is_cut_to_it() -> None:
    out = hide_faces(noise(), boxes((-40, -40, 20, 20), (200, 200, 300, 300), (110, 50, 500, 90)), "blur")
    assert hidden(out, (0, 0, 20, 20))
    assert hidden(out, (110, 50, 120, 90))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=30, max_size=60), st.floats(-30, 30), st.sampled_from(["blur", "pixelate"]))
def test_no_frame_leaks_while_detection_flickers(found: list[bool], speed: float, privacy: str) -> None:
    """Found in at least every 20th frame (0.8 s), moving up to its own width in that time."""
    for start in range(0, len(found), 20):
        found[start] = True
    places = [(45 + speed * index / FPS, 40.0) for index in range(len(found))]
    faces = [boxes((x, y, x + 30, y + 40)) if seen else boxes() for (x, y), seen in zip(places, found, strict=True)]
    for picture, (x, y) in zip(played(privacy, faces), places, strict=True):
        inside = max(0, round(x)), round(y), min(SIDE, round(x + 30)), round(y + 40)
        if inside[2] > inside[0] + 2:
            assert hidden(picture, inside)


def test_a_face_is_hidden_for_a_second_before_it_is_found_and_after_it_was_last_seen() -> None:
    face = (40, 40, 70, 80)
    pictures = played("blur", [boxes()] * 40 + [boxes(face)] + [boxes()] * 40)
    state = [hidden(picture, face) for picture in pictures]
    assert state == [False] * 15 + [True] * 51 + [False] * 15


def test_two_faces_keep_apart() -> None:
    one, other = (5, 40, 30, 70), (85, 40, 110, 70)
    pictures = played("pixelate", [boxes(one, other), boxes(other), boxes(one), boxes(other, one)] * 5)
    assert all(hidden(picture, one) and hidden(picture, other) for picture in pictures)
    assert (pictures[0][:, 55:60] == noise()[:, 55:60]).all()


def test_a_faint_face_hides_nothing_by_itself_but_keeps_a_known_one_hidden() -> None:
    face, far = (40, 40, 70, 80), (90, 90, 110, 115)
    found = [boxes(face), *[boxes(face, far)] * 60]
    pictures = played("blur", found, [0.9] + [FAINT_SCORE] * 60)
    assert all(hidden(picture, face) for picture in pictures)
    assert not any(hidden(picture, far) for picture in pictures)
    assert not any(hidden(picture, face) for picture in played("blur", found, [FAINT_SCORE] * 61))


def test_a_person_without_a_face_has_the_head_hidden_and_one_with_a_face_only_the_face() -> None:
    rows = boxes((10, 20, 20, 32), (0, 10, 30, 110), (60, 10, 90, 110))
    marks = np.full((3, 5, 2), np.nan, np.float32)
    found = Detections(rows, np.array((0.9, 0.8, 0.7), np.float32), np.array((FACE, PERSON, PERSON)), marks)
    hidden_ones = faces_and_heads(found)
    np.testing.assert_allclose(hidden_ones.boxes_xyxy, [(10, 20, 20, 32), (66, 10, 84, 30)])
    np.testing.assert_allclose(hidden_ones.scores, [0.9, 0.7])
    assert len(faces_and_heads(Detections.none())) == 0


@pytest.mark.parametrize(
    ("face", "score", "both"),
    [
        ((18, 22, 30, 36), 0.9, False),  # his face
        ((18, 22, 30, 36), FAINT_SCORE, True),  # perhaps no face
        ((18, 70, 30, 84), 0.9, True),  # at his hip: a bag, or somebody in front of him
    ],
)
def test_a_head_is_hidden_unless_its_own_face_is_surely_found(
    face: tuple[float, float, float, float], score: float, both: bool
) -> None:
    found = found_as(boxes((8, 20, 40, 110), face))
    found.classes[0] = PERSON
    found.scores[1] = score
    assert len(faces_and_heads(found)) == 1 + both
