"""Does a calibrated gallery keep its word? People of Market-1501 whom the network never saw, half of them strangers.

    python -m benchmarks.openset --data TAR_OR_FOLDER [--splits 10] [--out FILE]

For each split half of the 120 held-out identities are enrolled with up to four crops, and the gallery is calibrated
from these alone. The other half's crops are the strangers, the enrolled people's other crops the known searches. Given
are the share of strangers taken for somebody beside the share that was named, the share of known searches that are
missed, and the calibration error of the probability; the shares also for searches as the service makes them, by the
mean of what one camera saw of a person. JSON on the last line.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.calibration import calibrate
from models.engine import EngineConfig, load_engine
from models.reid.embedder import Embedder
from models.reid.spec import REID_NANO
from training.reid.data import development_split, read_crops

__all__ = ["judge", "main"]

FPIRS = (0.1, 0.05, 0.01)
ENROLLED = 4
BINS = 10


def main() -> int:
    """Embed, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    _, crops = development_split(read_crops(options.data))
    with load_engine(REID_NANO, EngineConfig(), from_uint8=True) as engine:
        embedder = Embedder(engine)
        whole = np.array([[0, 0, crops.images.shape[2], crops.images.shape[1]]], np.float32)
        vectors = np.concatenate([embedder.embed([image], [whole]) for image in crops.images])
    splits = [judge(vectors, crops.identities, crops.cameras, seed) for seed in range(options.splits)]
    report: dict[str, Any] = {
        "network": REID_NANO.stem,
        "protocol": "120 unseen identities, half enrolled with up to 4 crops each, the others strangers",
        "splits": len(splits),
        "strangers": int(np.mean([s["strangers"] for s in splits])),
        "known": int(np.mean([s["known"] for s in splits])),
        "probability_error": round(float(np.mean([s["probability_error"] for s in splits])), 4),
        "by_fpir": {},
    }
    for named in FPIRS:
        row: dict[str, Any] = {}
        for kind in ("taken", "missed", "taken_by_track", "missed_by_track"):
            shares = [s[kind][named] for s in splits]
            row[kind] = round(float(np.mean(shares)), 4)
            row[f"{kind}_from_to"] = [round(min(shares), 4), round(max(shares), 4)]
        report["by_fpir"][str(named)] = row
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report))
    return 0


def judge(
    vectors: NDArray[np.float32], identities: NDArray[np.int64], cameras: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """One split of embeddings [N, D], unit norm, with their identities and cameras [N]."""
    rng = np.random.default_rng(seed)
    people = rng.permutation(np.unique(identities))
    enrolled: list[int] = []
    for one in people[: len(people) // 2]:
        enrolled += rng.permutation(np.flatnonzero(identities == one))[:ENROLLED].tolist()
    inside = np.isin(identities, people[: len(people) // 2])
    known = np.setdiff1d(np.flatnonzero(inside), enrolled)
    strangers = np.flatnonzero(~inside)
    gallery, owners = vectors[enrolled], identities[enrolled]
    found: dict[str, dict[float, float]] = {}
    scores, margins, right = _searches(vectors[known], identities[known], gallery, owners)
    stranger_scores, stranger_margins, _ = _searches(vectors[strangers], identities[strangers], gallery, owners)
    track_scores, _, track_right = _searches(*_tracks(vectors, identities, cameras, known), gallery, owners)
    stranger_tracks, _, _ = _searches(*_tracks(vectors, identities, cameras, strangers), gallery, owners)
    for named in FPIRS:
        calibration = calibrate(gallery, np.unique(owners, return_inverse=True)[1], named)
        least = calibration.threshold
        for kind, share in (
            ("taken", (stranger_scores >= least).mean()),
            ("missed", 1 - (right & (scores >= least)).mean()),
            ("taken_by_track", (stranger_tracks >= least).mean()),
            ("missed_by_track", 1 - (track_right & (track_scores >= least)).mean()),
        ):
            found.setdefault(kind, {})[named] = float(share)
    # At even odds of a stranger, as the probability is meant: as many of one as of the other.
    count = min(len(known), len(strangers))
    some, others = rng.permutation(len(known))[:count], rng.permutation(len(strangers))[:count]
    all_scores = np.concatenate([scores[some], stranger_scores[others]])
    all_margins = np.concatenate([margins[some], stranger_margins[others]])
    was = np.concatenate([right[some], np.zeros(count, dtype=bool)])
    said = np.array([calibration.probability(s, m) for s, m in zip(all_scores, all_margins, strict=True)], np.float64)
    bins = np.minimum((said * BINS).astype(int), BINS - 1)
    error = sum(abs(said[bins == b].mean() - was[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    return {
        **found,
        "strangers": len(strangers),
        "known": len(known),
        "probability_error": float(error),
    }


def _tracks(
    vectors: NDArray[np.float32], identities: NDArray[np.int64], cameras: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The mean of each person's rows of one camera, of unit norm, and who it is."""
    groups, group_of = np.unique(np.stack([identities[rows], cameras[rows]]), axis=1, return_inverse=True)
    means = np.stack([vectors[rows[group_of == group]].mean(axis=0) for group in range(groups.shape[1])])
    return means / np.linalg.norm(means, axis=1, keepdims=True), groups[0]


def _searches(
    queries: NDArray[np.float32], of: NDArray[np.int64], gallery: NDArray[np.float32], owners: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Best score and margin of each query's search, and whether the best is right."""
    cosines = (queries @ gallery.T).astype(np.float64)
    best = owners[cosines.argmax(axis=1)]
    top = cosines.max(axis=1)
    second = np.where(owners[None, :] == best[:, None], -np.inf, cosines).max(axis=1)
    return top, top - second, best == of


if __name__ == "__main__":
    sys.exit(main())
