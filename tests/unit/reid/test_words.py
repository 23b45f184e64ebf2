"""Words against embeddings made from the shipped maps: who fits is found, what is unknown is said."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.errors import DigestError, WeightsMissingError
from models.reid import words as words_module
from models.reid.attributes import GROUPS, LABELS
from models.reid.words import Question, QuestionError, Words, words_paths


@pytest.fixture(scope="module")
def words() -> Words:
    return Words()


def looking(words: Words, *labels: str) -> np.ndarray:
    """An embedding of whom the attributes' reader says these labels of."""
    names = [label.name for label in LABELS]
    sums = np.zeros(512, np.float32)
    start = 0
    for group in GROUPS:
        rows = words.reader[start : start + len(group.labels)]
        for label in labels:
            if label in names[start : start + len(group.labels)]:
                sums += rows[names.index(label) - start] - rows.mean(axis=0)
        start += len(group.labels)
    return sums / np.linalg.norm(sums)


def people(words: Words, *each: Sequence[str]) -> np.ndarray:
    return np.stack([looking(words, *labels) for labels in each])


def test_whom_the_phrases_fit_comes_first(words: Words) -> None:
    rows = people(words, ("man", "black top"), ("woman", "red top", "backpack"), ("man", "red top"))
    best = words.rank("a woman in a red top, with a backpack", rows, [10, 20, 30], 2)
    assert best[0].owner == 20
    assert len(best) == 2
    assert best[0].score > best[1].score
    assert {phrase.label for phrase in best[0].phrases} == {"woman", "red top", "backpack"}
    assert set(best[0].matched) <= {"a woman", "a red top", "a backpack"}
    assert 0 < best[0].uncertainty < 0.5
    assert words.rank("woman", rows[:0], [], 3) == []


def test_an_owner_of_several_pictures_has_their_mean(words: Words) -> None:
    rows = people(words, ("woman",), ("man",), ("woman",))
    question = words.read("woman")
    each = words.log_probabilities(question, rows)[:, 0]
    (first, second) = words.rank(question, rows, [7, 7, 8], 5)
    assert (first.owner, second.owner) == (8, 7)
    assert second.score == pytest.approx(np.exp(each[:2].mean()), rel=1e-5)


def test_each_groups_probabilities_have_sum_1(words: Words) -> None:
    found = words.attributes(people(words, ("woman",), ("hat",)))
    assert found.shape == (2, len(LABELS))
    start = 0
    for group in GROUPS:
        np.testing.assert_allclose(found[:, start : start + len(group.labels)].sum(axis=1), 1, atol=1e-4)
        start += len(group.labels)


def test_synonyms_are_understood_and_lacks_are_lacks(words: Words) -> None:
    def labels(question: Question) -> list[str]:
        return [phrase.label for phrase in question.phrases]

    assert labels(words.read("lady, rucksack, dark jeans")) == ["woman", "backpack", "black bottom"]
    assert labels(words.read("guy without a rucksack")) == ["man", "no backpack"]
    assert words.read("woman, umbrella").ignored == ("umbrella",)


@pytest.mark.parametrize("question", ["", "umbrella", "a dog and a bicycle", "\u4e2d\u6587", ", , ,"])
def test_a_question_about_nothing_known_is_an_error(words: Words, question: str) -> None:
    with pytest.raises(QuestionError, match="known are man, woman"):
        words.read(question)


def test_answers_do_not_change(words: Words) -> None:
    rows = people(words, ("woman", "red top"), ("man",))
    assert words.rank("woman, red top", rows, [0, 1], 2) == words.rank("woman, red top", rows, [0, 1], 2)


def test_absent_or_changed_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "words_paths", lambda: words_paths(tmp_path))
    with pytest.raises(WeightsMissingError, match="reid-words"):
        Words()
    weights, record = words_paths(tmp_path)
    weights.write_bytes(b"cut off")
    record.write_text('{"weights": {"sha256": "0"}}')
    with pytest.raises(DigestError):
        Words()
