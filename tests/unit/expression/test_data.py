"""FER data: reading, the split, valence and arousal from votes, calibration error."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from models.expression import CROWD, EXPRESSIONS
from training.expression.affect import CIRCUMPLEX, affect_of, crowd_of, nearest
from training.expression.data import VOTED, FaceSet, NoFacesError, read_faces, validation_split
from training.expression.evaluate import calibration_error, crowd_figures


def test_an_npz_and_a_folder_are_read_alike(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 48, 48), np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(7))
    for name, image in zip(EXPRESSIONS, images, strict=True):
        (tmp_path / "set" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "set" / name / "1.png"), image)
    packed, loose = read_faces(tmp_path / "set.npz"), read_faces(tmp_path / "set")
    np.testing.assert_array_equal(packed.images, loose.images)
    np.testing.assert_array_equal(packed.labels, loose.labels)
    assert (loose.votes == -1).all()


def test_colour_of_another_size_becomes_grey_48(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=np.zeros((2, 112, 112, 3), np.uint8), labels=np.zeros(2, np.int64))
    assert read_faces(tmp_path / "set.npz").images.shape == (2, 48, 48)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((1, 48, 48), np.uint8)}, "labels"),
        ({"images": np.zeros((1, 48, 48), np.uint8), "labels": np.array([7])}, "labels 0 to 6"),
        ({"images": np.zeros((1, 48, 48)), "labels": np.array([0])}, "uint8"),
        ({"images": np.zeros((2, 48, 48), np.uint8), "labels": np.array([0])}, "as many labels"),
    ],
)
def test_a_bad_npz_says_what_is_wrong(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        read_faces(tmp_path / "bad.npz")


def test_an_empty_folder_says_what_it_wants(tmp_path: Path) -> None:
    with pytest.raises(NoFacesError, match="angry, disgust"):
        read_faces(tmp_path)


def test_copies_of_a_face_stay_on_one_side() -> None:
    images = np.random.default_rng(1).integers(0, 256, (200, 48, 48), np.uint8)
    faces = FaceSet(np.concatenate([images, images]), np.zeros(400, np.int64), np.full((400, 10), -1))
    train, held = validation_split(faces)
    assert len(train.labels) % 2 == len(held.labels) % 2 == 0
    assert 10 < len(held.labels) < 80
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in held.images}


def test_votes_become_valence_and_arousal() -> None:
    votes = np.zeros((3, len(VOTED)), np.int64)
    votes[0, VOTED.index("happy")] = votes[0, VOTED.index("surprise")] = 5
    votes[1] = -1
    votes[2, VOTED.index("unknown")] = 10  # says nothing: the label stands in
    labels = np.array([EXPRESSIONS.index(name) for name in ("happy", "fear", "sad")])
    affect, voted = affect_of(FaceSet(np.zeros((3, 48, 48), np.uint8), labels, votes))
    mean = (np.array(CIRCUMPLEX["happy"]) + CIRCUMPLEX["surprise"]) / 2
    np.testing.assert_allclose(affect, [mean, CIRCUMPLEX["fear"], CIRCUMPLEX["sad"]], atol=1e-6)
    assert voted.tolist() == [True, False, False]


def test_neighbours_are_near_and_never_oneself() -> None:
    pytest.importorskip("scipy")
    affect = np.repeat(np.array([[-0.8, 0.0], [0.8, 0.0]], np.float32), 20, axis=0)
    found = nearest(affect, 5, np.random.default_rng(0))
    assert found.shape == (40, 5)
    assert not (found == np.arange(40)[:, None]).any()
    assert ((found < 20) == (np.arange(40) < 20)[:, None]).all()


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55], np.float32)
    right = np.array([True, True, True, False, True, False])
    assert calibration_error(confidence, right) == pytest.approx((4 * 0.2 + 2 * 0.05) / 6, abs=1e-6)


def test_the_crowd_s_shares_are_of_emotions_and_a_label_stands_in_for_nobody() -> None:
    votes = np.zeros((3, len(VOTED)), np.int64)
    votes[0, VOTED.index("happy")], votes[0, VOTED.index("contempt")], votes[0, VOTED.index("unknown")] = 6, 2, 2
    votes[1] = -1
    votes[2, VOTED.index("not-a-face")] = 10
    labels = np.array([EXPRESSIONS.index(name) for name in ("happy", "fear", "sad")])
    shares = crowd_of(FaceSet(np.zeros((3, 48, 48), np.uint8), labels, votes))
    assert shares[0, CROWD.index("happy")] == pytest.approx(0.75)
    assert shares[0, CROWD.index("contempt")] == pytest.approx(0.25)
    assert shares[1].tolist() == [float(name == "fear") for name in CROWD]
    assert not shares[2].any()


def test_crowd_figures_by_hand() -> None:
    votes = np.zeros((4, len(VOTED)), np.int64)
    votes[0, VOTED.index("happy")] = 10
    votes[1, VOTED.index("sad")], votes[1, VOTED.index("neutral")] = 6, 4
    votes[2, VOTED.index("sad")], votes[2, VOTED.index("neutral")] = 5, 5  # nobody has more than half
    votes[3, VOTED.index("unknown")] = 9
    faces = FaceSet(np.zeros((4, 48, 48), np.uint8), np.zeros(4, np.int64), votes)
    said = np.full((4, len(CROWD)), 0.5 / 7, np.float32)
    said[:, CROWD.index("happy")] = 0.5
    found = crowd_figures(faces, said)
    first = np.log(1 / 0.5)
    second = 0.6 * np.log(0.6 * 14) + 0.4 * np.log(0.4 * 14)
    assert found == {
        "ferplus_accuracy": 50,
        "ferplus_kl": pytest.approx((first + second) / 2, abs=1e-3),
        "ferplus_n": 2,
    }
    assert crowd_figures(FaceSet(faces.images, faces.labels, np.full_like(votes, -1)), said) == {}
