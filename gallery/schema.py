"""What a gallery is made of: the records that the store returns, and how an embedding lies in a Redis hash."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from gallery.errors import CorruptVectorError, DimensionMismatchError, InvalidEmbeddingError

__all__ = [
    "PROVISIONAL",
    "Calibration",
    "Candidate",
    "Change",
    "CropPolicy",
    "Enrolment",
    "GalleryInfo",
    "Identity",
    "Match",
    "MatchStatus",
    "Polarity",
    "ProvisionalPolicy",
    "Removed",
    "Sighting",
    "SightingsRecorded",
    "Storage",
    "StoredVector",
    "check_embeddings",
    "check_qualities",
    "decode_vector",
    "decode_vectors",
    "encode_vector",
    "is_provisional",
    "vector_dtype",
]

_DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2")}
UNIT_NORM_TOLERANCE = 1e-3
STORED_NORM_TOLERANCE = 1e-2  # float16 keeps 11 bits: 512 of them move a unit norm by under 1e-3

PROVISIONAL = "provisional-"
"""What the ids of provisional identities begin with."""

MatchStatus = Literal["known", "unknown", "unavailable"]
Polarity = Literal["positive", "negative"]
Storage = Literal["float32", "float16"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Calibration(_Record):
    """What a gallery's threshold was set from, and how a score becomes a probability (see `gallery/calibration.py`)."""

    fpir: float = Field(gt=0, lt=1)
    """The share of strangers that may be taken for somebody, as the operator named it."""
    threshold: float
    method: Literal["quantile", "tail"]
    """Read from the strangers' scores, or, where these are too few for so small a share, from their tail's fit."""
    identities: int
    stranger_searches: int
    known_searches: int
    missed: float | None
    """The share of known searches whose own identity was not found at the threshold."""
    weights: tuple[float, float, float] | None
    """Of 1, score and margin in the log-odds; None where nobody had a second vector to be found by."""
    at_ms: int = 0

    def probability(self, score: float, margin: float | None) -> float | None:
        """That the best identity is the right one, at even odds beforehand of a stranger and a known person."""
        if self.weights is None:
            return None
        bias, per_score, per_margin = self.weights
        odds = bias + per_score * score + per_margin * (score if margin is None else margin)
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, odds))))


class ProvisionalPolicy(_Record):
    """How a gallery remembers unknown people (see `gallery/provisional.py`)."""

    at_most: int = Field(default=1_000, ge=1, le=100_000)
    """Beyond it the longest unseen one goes."""
    expire_after_s: int = Field(default=7 * 86_400, ge=1)
    surer_by: float = Field(default=0.25, ge=0, le=1)
    """In a gallery that is not calibrated somebody is surely one of them from its threshold and so much more on: in
    one room strangers look alike."""


class CropPolicy(_Record):
    """How a gallery keeps the pictures that its vectors were made of (see `gallery/crops.py`)."""

    retention_s: int = Field(ge=1, le=10 * 365 * 86_400)


def is_provisional(identity_id: str, name: str | None) -> bool:
    """Whether an identity was made for an unknown person whom nobody has named since."""
    return name is None and identity_id.startswith(PROVISIONAL)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An identity and its cosine with the query, -1 to 1."""

    identity_id: str
    name: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Match:
    """The answer for one embedding.

    `known`: an identity's cosine reaches the gallery's threshold. `unknown`: none does (or the gallery is empty);
    `score` and `margin` still tell how near the nearest was. `unavailable`: the gallery could not be asked, which says
    nothing about the person.
    """

    status: MatchStatus
    identity_id: str | None = None
    name: str | None = None
    score: float | None = None
    """Cosine of the best identity, -1 to 1; None where nothing was compared."""
    margin: float | None = None
    """Score less that of the next best identity, 0 to 2; None with fewer than two identities."""
    probability: float | None = None
    """That the best identity is the right one, 0 to 1; None where the gallery is not calibrated."""
    provisional: str | None = None
    """The provisional identity that an `unknown` person is."""

    @classmethod
    def decide(
        cls,
        best: Sequence[Candidate],
        threshold: float,
        calibration: Calibration | None = None,
        *,
        provisional_from: float = 1.0,
    ) -> Self:
        """The decision on a query's nearest identities, best first: at least two where the gallery has them.

        Provisional ones, from a cosine of their own on, do not change who is known, how surely, or by what margin.
        """
        named = [one for one in best if not is_provisional(one.identity_id, one.name)]
        near = [one for one in best[:1] if one.score >= provisional_from and one not in named]
        provisional = near[0].identity_id if near else None
        if not named:
            return cls("unknown", provisional=provisional)
        first = named[0]
        margin = first.score - named[1].score if len(named) > 1 else None
        probability = None if calibration is None else calibration.probability(first.score, margin)
        if first.score >= threshold:
            return cls("known", first.identity_id, first.name, first.score, margin, probability)
        return cls("unknown", None, None, first.score, margin, probability, provisional)


class GalleryInfo(_Record):
    """One gallery. Times in ms since the epoch, of the server's clock."""

    name: str
    dimension: int
    epoch: str
    threshold: float
    storage: Storage
    identities: int
    created_at_ms: int
    generation: str
    seq: int
    calibration: Calibration | None = None
    expire_after_s: int | None = None
    """Identities neither seen nor changed for so long are removed; None keeps them."""
    provisional: ProvisionalPolicy | None = None
    """How unknown people are remembered; None: they are not."""
    crops: CropPolicy | None = None
    """How pictures are kept; None: they are not."""

    @property
    def provisional_from(self) -> float:
        """The cosine from which somebody is surely a provisional identity."""
        surer_by = self.provisional.surer_by if self.provisional is not None else 0.0
        return min(1.0, self.threshold + (surer_by if self.calibration is None else 0.0))


class StoredVector(_Record):
    """One vector of an identity, without its numbers. `fault` says why it cannot be used, None where it can."""

    number: int
    epoch: str | None
    polarity: Polarity | None
    quality: float | None
    enrolled_at_ms: int | None
    fault: str | None = None


class Identity(_Record):
    """One identity of a gallery; `vectors` is filled by `show` only."""

    identity_id: str
    name: str | None
    created_at_ms: int
    updated_at_ms: int
    vector_count: int
    last_seen_at_ms: int | None
    vectors: tuple[StoredVector, ...] = ()


class Enrolment(_Record):
    """What an enrolment did. `replayed`: its event id was here before, nothing was written now."""

    identity_id: str
    vector_numbers: tuple[int, ...]
    event_id: str
    replayed: bool
    replaced: tuple[int, ...] = ()
    """Numbers of vectors that made room, being the least worth keeping."""
    left_out: int = 0
    """How many of the new ones were worth less than those that are there."""


class Change(_Record):
    """A change that can be undone. `moved` tells old from new vector numbers (`3>7`), or is what it added."""

    number: int
    op: Literal["merge", "split", "negative", "apart"]
    identity_id: str
    into: str
    """The identity that got what was moved; the same one for a negative."""
    moved: str
    at_ms: int
    who: str
    reason: str


class Removed(_Record):
    """What a removal deleted in Redis, and the number of its line in the log."""

    gallery: str
    identity_id: str
    vectors: int
    sightings: int
    changes: int
    """Changes that could have been undone, and brought something of it back."""
    crops: int
    """Kept pictures."""
    at_ms: int
    generation: str
    seq: int


class Sighting(_Record):
    """An identity seen on a stream. `event_id` makes the record idempotent: one a person and frame."""

    event_id: str = Field(min_length=1, max_length=256)
    identity_id: str
    stream_id: str
    seen_at_ms: int = Field(ge=0)
    score: float | None = None
    track_id: int | None = None
    box_xyxy: tuple[float, float, float, float] | None = None


class SightingsRecorded(_Record):
    """What became of a batch: every sighting is in exactly one of the three."""

    recorded: int
    duplicates: int
    unknown: int


def check_embeddings(embeddings: ArrayLike, *, dimension: int | None = None) -> NDArray[np.float32]:
    """float32 [N, D] of unit norm, from [D] or [N, D].

    Raises: InvalidEmbeddingError with the rows that are not finite or whose norm is further than 1e-3 from 1;
    DimensionMismatchError where D is not `dimension`.
    """
    rows = np.atleast_2d(np.asarray(embeddings, dtype=np.float32))
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InvalidEmbeddingError(f"embedding: expected shape [D] or [N, D], got {list(np.shape(embeddings))}")
    if dimension is not None and rows.shape[1] != dimension:
        raise DimensionMismatchError(
            f"embedding: expected {dimension} numbers as the gallery has, got {rows.shape[1]}; "
            "embed with the gallery's model, or create another gallery for this one"
        )
    norms = np.linalg.norm(rows, axis=1)
    bad = np.flatnonzero(~(np.abs(norms - 1.0) <= UNIT_NORM_TOLERANCE))  # not(<=): NaN is bad too
    if bad.size:
        first = int(bad[0])
        raise InvalidEmbeddingError(
            f"embedding: expected finite rows of unit norm (1 ± {UNIT_NORM_TOLERANCE}), got norm {norms[first]:.6g} "
            f"in row {first} ({bad.size} of {len(rows)} rows are bad); divide by the norm, or skip that person",
            rows=tuple(int(i) for i in bad),
        )
    return np.ascontiguousarray(rows)


def check_qualities(quality: ArrayLike, count: int) -> list[float]:
    """One for each of `count` embeddings, 0 to 1, from a number or as many. Raises: InvalidEmbeddingError."""
    given = np.asarray(quality, dtype=np.float64)
    if given.shape not in ((), (count,)) or not ((given >= 0) & (given <= 1)).all():
        raise InvalidEmbeddingError(
            f"quality: expected a number from 0 to 1, or one for each of {count}, got {quality!r}"
        )
    return [float(q) for q in np.broadcast_to(given, (count,))]


def encode_vector(embedding: NDArray[np.float32], storage: Storage) -> bytes:
    """Little-endian bytes of one embedding [D]."""
    return embedding.astype(_DTYPES[storage]).tobytes()


def vector_dtype(storage: Storage) -> np.dtype[Any]:
    """How a number lies in a hash."""
    return _DTYPES[storage]


def decode_vector(key: str, fields: Mapping[str, bytes | None], *, dimension: int) -> NDArray[np.float32]:
    """float32 [D] of unit norm from a vector hash.

    Raises: CorruptVectorError naming the key where a field is missing, the length is off, or the numbers are not of
    unit norm.
    """
    raw, dtype = fields.get("embedding"), (fields.get("dtype") or b"").decode("ascii", "replace")
    if raw is None or dtype not in _DTYPES:
        raise CorruptVectorError(
            f"{key}: expected the fields embedding and dtype (float32, float16), got {dtype!r}", key
        )
    if len(raw) != dimension * _DTYPES[dtype].itemsize:
        raise CorruptVectorError(
            f"{key}: expected {dimension} numbers of {dtype} ({dimension * _DTYPES[dtype].itemsize} bytes), "
            f"got {len(raw)} bytes; remove the identity and enrol it again",
            key,
        )
    vector = np.frombuffer(raw, dtype=_DTYPES[dtype]).astype(np.float32)
    norm = float(np.linalg.norm(vector))
    if not abs(norm - 1.0) <= STORED_NORM_TOLERANCE:
        raise CorruptVectorError(
            f"{key}: expected unit norm, got {norm:.6g}; remove the identity and enrol it again", key
        )
    return vector / np.float32(norm)


def decode_vectors(raw: bytes, dtypes: set[str], sizes: Sequence[int], dimension: int) -> NDArray[np.float32] | None:
    """float32 [N, D] of unit norm from the bytes of many vectors; None unless every one of them is sound.

    What is quick: the rows of a whole gallery at once. Where it says None, `decode_vector` finds the one at fault.
    """
    dtype = _DTYPES.get(next(iter(dtypes))) if len(dtypes) == 1 else None
    if dtype is None or any(size != dimension * dtype.itemsize for size in sizes):
        return None
    rows = np.frombuffer(raw, dtype=dtype).astype(np.float32).reshape(len(sizes), dimension)
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    if not (np.abs(norms - 1) <= STORED_NORM_TOLERANCE).all():
        return None
    rows /= norms[:, None]
    return rows
