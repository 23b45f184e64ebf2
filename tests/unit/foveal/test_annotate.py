"""Drawing: what is known, unknown and unreadable looks different, and nothing leaves the picture."""

import numpy as np
import pytest

from foveal.annotate import annotate, contact_sheet, side_by_side
from streams.messages import EXPRESSIONS, Expression, ExpressionsResult, Face, Identity, PeopleResult, Person

FRAME = {"stream_id": "door", "seq": 7, "captured_at_ns": 1, "width": 176, "height": 144}


def people(identity: Identity) -> PeopleResult:
    return PeopleResult(
        **FRAME, people=(Person(box_xyxy=(-20, -10, 150, 400), score=0.9, track_id=3, identity=identity),)
    )


def faces(expression: Expression | None) -> ExpressionsResult:
    face = Face(
        box_xyxy=(60, 30, 110, 90),
        score=0.8,
        landmarks_xy=((70, 50), (95, 50), (82, 62), (72, 78), (94, 78)),
        track_id=3,
        expression=expression,
        unreadable=None if expression else "too small",
    )
    return ExpressionsResult(**FRAME, faces=(face,))


HAPPY = Expression(
    probabilities=dict.fromkeys(EXPRESSIONS, 0.05) | {"happy": 0.7},
    label="happy",
    valence=0.8,
    arousal=0.4,
    uncertainty=0.2,
)


def test_a_small_frame_is_enlarged_to_even_sides_and_the_input_is_left_alone() -> None:
    image = np.full((143, 175, 3), 90, np.uint8)
    drawn = annotate(image, people(Identity(status="unknown", gallery="lobby")), faces(HAPPY), title="door #7")
    assert drawn.shape == (572, 700, 3)
    assert (image == 90).all()
    assert (drawn != 90).any()


@pytest.mark.parametrize("expression", [HAPPY, None])
def test_states_look_different(expression: Expression | None) -> None:
    image = np.full((144, 176, 3), 90, np.uint8)
    known = Identity(status="known", gallery="lobby", identity_id="ada", name="Ada", score=0.8, margin=0.2)
    identities = (known, Identity(status="unknown", gallery="lobby"), Identity(status="unavailable", gallery="lobby"))
    pictures = [annotate(image, people(one), faces(expression), title="t").tobytes() for one in identities]
    assert len(set(pictures)) == 3


def test_the_reading_over_the_track_is_what_is_drawn() -> None:
    image = np.full((144, 176, 3), 90, np.uint8)
    angry = HAPPY.model_copy(
        update={"probabilities": dict.fromkeys(EXPRESSIONS, 0.05) | {"angry": 0.7}, "label": "angry"}
    )
    (face,) = faces(angry).faces
    both = faces(angry).model_copy(update={"faces": (face.model_copy(update={"smoothed": HAPPY}),)})
    nobody = PeopleResult(**FRAME, people=())
    drawn = [annotate(image, nobody, one, title="t") for one in (both, faces(HAPPY), faces(angry))]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()


def test_a_sheet_fits_pictures_of_any_size() -> None:
    sheet = contact_sheet(
        [np.full((10, 400, 3), 200, np.uint8), np.full((400, 10, 3), 100, np.uint8)], columns=3, tile_wh=(60, 40)
    )
    assert sheet.shape == (40, 180, 3)
    assert {24, 100, 200} <= set(np.unique(sheet).tolist())


def test_side_by_side_has_even_sides() -> None:
    row = side_by_side({"a": np.zeros((61, 41, 3), np.uint8), "b": np.zeros((61, 42, 3), np.uint8)})
    assert row.shape == (60, 82, 3)
