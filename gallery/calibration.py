"""The threshold from data: so that of strangers no more than a named share is taken for somebody (FPIR, ISO/IEC 19795).

Without strangers of its own a gallery is its own data: each vector is searched among everybody else, as a stranger
would be, and, where its identity has other vectors, among all, as a known person would be. A stranger is searched by
the mean of some of his vectors, since perception asks by the mean of a track, which is nearer to everybody than a
single view. The threshold is the strangers' quantile, or, where they are too few for so small a share, that of an
exponential tail fitted to their highest tenth. The same searches fit a logistic regression of "the best one is right"
on score and margin.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gallery.errors import CalibrationError
from gallery.schema import Calibration, check_embeddings, is_provisional
from gallery.store import GalleryStore

__all__ = ["calibrate", "calibrate_gallery"]

Floats = NDArray[np.float64]
MOST_SEARCHES = 4_000
LEAST_SEARCHES = 30
LEAST_KNOWN = 10
BEYOND_QUANTILE = 10
"""As many strangers have to lie beyond a quantile for it to be read off."""
TAIL = 0.1
TRACK_VIEWS = 3
ROWS_AT_A_TIME = 32
RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class _Searches:
    """Scores and margins [N] of the best identity, and whether it was the right one."""

    scores: Floats
    margins: Floats
    right: NDArray[np.bool_]


def calibrate_gallery(
    store: GalleryStore, gallery: str, fpir: float, *, strangers: NDArray[np.float32] | None = None, reason: str = ""
) -> Calibration:
    """Calibrate a gallery from its own vectors, or from `strangers` [N, D] who are none of it, and set its threshold.

    Raises: CalibrationError, UnknownGalleryError.
    """
    info = store.info(gallery)
    rows: list[NDArray[np.float32]] = []
    owners: list[int] = []
    for number, identity in enumerate(store.load(gallery)):
        if is_provisional(identity.identity_id, identity.name):
            continue  # one person may be several of them
        for vector in identity.vectors:
            if vector.embedding is not None and vector.polarity == "positive" and vector.epoch == info.epoch:
                rows.append(vector.embedding)
                owners.append(number)
    if not rows:
        raise CalibrationError(f"gallery: {gallery!r} has no usable vector; enrol people first")
    outside = None if strangers is None else check_embeddings(strangers, dimension=info.dimension)
    found = calibrate(np.stack(rows), np.array(owners), fpir, strangers=outside)
    store.set_calibration(gallery, found, reason=reason or f"false-positive identification rate {fpir:g}")
    return found


def calibrate(
    rows: NDArray[np.float32],
    owners: NDArray[np.int64],
    fpir: float,
    *,
    strangers: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> Calibration:
    """From the vectors [M, D] of a gallery, unit norm, with the number [M] of the identity of each.

    Raises: CalibrationError.
    """
    if not 0 < fpir < 1:
        raise CalibrationError(f"fpir: expected a share between 0 and 1, for example 0.01, got {fpir}")
    if strangers is None and owners.min() == owners.max():
        raise CalibrationError(
            "strangers: expected two identities or more, of whom one can be a stranger to the other, got 1; "
            "enrol more people, or give vectors of strangers"
        )
    rng = np.random.default_rng(seed)
    some = rng.permutation(len(rows))[:MOST_SEARCHES]
    nobody = np.full(len(strangers) if strangers is not None else 0, -1)
    unknown = (
        _search(rows, owners, _tracks(rows, owners, some, rng), owners[some], hide_owner=True)
        if strangers is None
        else _search(rows, owners, strangers, nobody, hide_owner=True)
    )
    if len(unknown.scores) < LEAST_SEARCHES or not np.isfinite(unknown.scores).all():
        raise CalibrationError(
            f"strangers: expected {LEAST_SEARCHES} searches or more to calibrate from, got {len(unknown.scores)}; "
            "enrol more people, or give vectors of strangers"
        )
    per_owner = np.bincount(owners)
    again = some[per_owner[owners[some]] > 1]
    known = _search(rows, owners, rows[again], owners[again], hide_self=again) if len(again) >= LEAST_KNOWN else None
    threshold, by_quantile = _threshold(unknown.scores, fpir)
    missed = None if known is None else float(1 - (known.right & (known.scores >= threshold)).mean())
    return Calibration(
        fpir=fpir,
        threshold=threshold,
        method="quantile" if by_quantile else "tail",
        identities=int((per_owner > 0).sum()),
        stranger_searches=len(unknown.scores),
        known_searches=0 if known is None else len(known.scores),
        missed=missed,
        weights=None if known is None else _log_odds(unknown, known),
    )


def _tracks(
    rows: NDArray[np.float32], owners: NDArray[np.int64], some: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """For each of some rows the mean, of unit norm, of it and up to `TRACK_VIEWS` - 1 others of its owner.

    Never of all that the owner has: his searches would be one and the same, and count as several.
    """
    order = np.lexsort((rng.random(len(rows)), owners))
    begins, counts = np.unique(owners[order], return_index=True, return_counts=True)[1:]
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows))
    group = np.searchsorted(owners[order][begins], owners[some])
    begin, count = begins[group], counts[group]
    first = place[some] - begin
    total = rows[some].astype(np.float64)
    for turn in range(1, TRACK_VIEWS):
        other = order[begin + (first + turn) % count]
        total += np.where((turn < count - 1)[:, None], rows[other], 0)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9), np.float32)


def _search(
    rows: NDArray[np.float32],
    owners: NDArray[np.int64],
    queries: NDArray[np.float32],
    of: NDArray[np.int64],
    *,
    hide_owner: bool = False,
    hide_self: NDArray[np.int64] | None = None,
) -> _Searches:
    """The best identity of each query that belongs to `of`: without that one, or without the query's own row."""
    scores, margins, right = [], [], []
    for start in range(0, len(queries), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        cosines = (queries[part] @ rows.T).astype(np.float64)
        if hide_owner:
            cosines[of[part, None] == owners[None, :]] = -np.inf
        if hide_self is not None:
            cosines[np.arange(len(cosines)), hide_self[part]] = -np.inf
        best = cosines.argmax(axis=1)
        top = cosines[np.arange(len(cosines)), best]
        cosines[owners[best][:, None] == owners[None, :]] = -np.inf
        second = cosines.max(axis=1)
        scores.append(top)
        margins.append(top - np.where(np.isfinite(second), second, 0))  # as Calibration.probability has it
        right.append(owners[best] == of[part])
    if not scores:
        return _Searches(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool))
    return _Searches(np.concatenate(scores), np.concatenate(margins), np.concatenate(right))


def _threshold(scores: Floats, fpir: float) -> tuple[float, bool]:
    """The score that a share `fpir` of strangers reaches, and whether it was read off."""
    if len(scores) * fpir >= BEYOND_QUANTILE:
        return float(min(1.0, np.quantile(scores, 1 - fpir))), True
    start = float(np.quantile(scores, 1 - TAIL))
    beyond = scores[scores > start] - start
    mean = float(beyond.mean()) if len(beyond) else 0.0
    return min(1.0, start + mean * float(np.log(max(1.0, TAIL / fpir)))), False


def _log_odds(unknown: _Searches, known: _Searches) -> tuple[float, float, float]:
    """Logistic regression by Newton's method, strangers and known people weighing the same."""
    features = np.stack(
        [np.concatenate([unknown.scores, known.scores]), np.concatenate([unknown.margins, known.margins])], axis=1
    )
    labels = np.concatenate([np.zeros(len(unknown.scores)), known.right.astype(np.float64)])
    weight = np.concatenate(
        [np.full(len(unknown.scores), 0.5 / len(unknown.scores)), np.full(len(known.scores), 0.5 / len(known.scores))]
    )
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    x = np.column_stack([np.ones(len(features)), (features - mean) / spread])
    ridge = RIDGE * np.diag([0.0, 1.0, 1.0])  # without it, people whom a line parts would be certain
    beta = np.zeros(3)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -60, 60)))
        slope = x.T @ (weight * (labels - p)) - ridge @ beta
        curve = (x * (weight * p * (1 - p))[:, None]).T @ x + ridge + 1e-9 * np.eye(3)
        step = np.linalg.solve(curve, slope)
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            break
    bias = float(beta[0] - (beta[1:] * mean / spread).sum())
    return bias, float(beta[1] / spread[0]), float(beta[2] / spread[1])
