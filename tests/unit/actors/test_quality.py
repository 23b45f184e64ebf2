"""Blur, smallness and a cut person lower the quality."""

import cv2
import numpy as np

from actors.quality import crop_quality

BOX = (40.0, 30.0, 104.0, 158.0)


def test_what_hides_a_person_lowers_the_quality() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (25, 25, 3), np.uint8)
    picture = np.asarray(cv2.resize(coarse, (200, 200), interpolation=cv2.INTER_NEAREST), np.uint8)
    good = crop_quality(picture, BOX, whole=False)
    blurred = np.asarray(cv2.GaussianBlur(picture, (0, 0), 6), np.uint8)
    assert 0.5 < good <= 1
    assert crop_quality(blurred, BOX, whole=False) < 0.5 * good
    assert crop_quality(picture, (40, 30, 56, 62), whole=False) < 0.5 * good
    cut = crop_quality(picture, (40, 72, 104, 200), whole=False)
    assert cut < 0.6 * crop_quality(picture, (40, 72, 104, 200), whole=True)
    assert crop_quality(np.zeros((200, 200, 3), np.uint8), BOX, whole=False) == 0
    assert crop_quality(picture, (300, 300, 310, 310), whole=False) == 0
