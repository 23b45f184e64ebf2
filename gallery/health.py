"""How well a gallery is: what is damaged, behind, uncalibrated or suspicious, with what to do about it."""

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, computed_field

from gallery.connection import named_errors
from gallery.keys import GalleryKeys
from gallery.replicas import ReplicaReport, list_replicas
from gallery.schema import GalleryInfo, is_provisional
from gallery.scores import drift
from gallery.search import IdentityTable
from gallery.snapshot import LoadedIdentity
from gallery.store import GalleryStore

__all__ = ["Finding", "GalleryCheck", "Suspects", "check_gallery"]

BEHIND_MS = 1_000
DRIFTED = 0.15
SUSPECTS_LOOKED_AT = 2_000
MOST_NAMED = 20


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Finding(_Record):
    """`fault`: something is broken or lost; `warning`: somebody should look."""

    level: Literal["fault", "warning"]
    what: str
    remedy: str


class Suspects(_Record):
    """Two identities that may be one person: a vector of one is found as the other."""

    identity_id: str
    other_id: str
    score: float


class GalleryCheck(_Record):
    """The outcome of `foveal gallery check`; `healthy` where there is no fault."""

    gallery: str
    identities: int
    vectors: int
    drift: float | None
    duplicate_suspects: tuple[Suspects, ...]
    suspects_looked_for: int
    """Identities whose newest vector was looked up: all, or a sample of 2,000."""
    replicas: tuple[ReplicaReport, ...]
    findings: tuple[Finding, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def healthy(self) -> bool:
        """No fault."""
        return all(finding.level != "fault" for finding in self.findings)


def check_gallery(store: GalleryStore, gallery: str) -> GalleryCheck:
    """Read a gallery whole and say how it is. Raises: UnknownGalleryError."""
    info = store.info(gallery)
    people = store.load(gallery)
    replicas = list_replicas(store, gallery)
    with named_errors(store.config):
        keys = GalleryKeys(gallery)
        newest = store.client.xrevrange(keys.log, count=1)
        reference = store.client.hget(keys.meta, "score_reference")
        apart = {pair.decode() for pair in store.client.smembers(keys.apart)}
    drifted = _drift(replicas, reference)
    suspects, looked_for = _suspects(people, info, apart)
    findings = [
        *_stored(people, info),
        *_replicas(replicas, info),
        *_calibration(info, drifted, bool(reference)),
    ]
    last = int(newest[0][1][b"seq"]) if newest else 0
    if last < info.seq:
        findings.append(
            _fault(f"the log ends at {last}, the gallery is at {info.seq}", "the server lost writes: look at its disk")
        )
    if info.identities > 0.9 * store.config.max_identities:
        findings.append(
            _warning(
                f"{info.identities:,} of {store.config.max_identities:,} identities", "raise gallery.max_identities"
            )
        )
    if suspects:
        findings.append(
            _warning(
                f"{len(suspects)} pairs may be one person, first {suspects[0].identity_id} and {suspects[0].other_id}",
                "`foveal gallery merge`, or `foveal gallery negative ... --other` if they are two",
            )
        )
    return GalleryCheck(
        gallery=gallery,
        identities=len(people),
        vectors=sum(len(one.vectors) for one in people),
        drift=drifted,
        duplicate_suspects=tuple(suspects[:MOST_NAMED]),
        suspects_looked_for=looked_for,
        replicas=tuple(replicas),
        findings=tuple(findings),
    )


def _stored(people: Sequence[LoadedIdentity], info: GalleryInfo) -> list[Finding]:
    faults = [v.fault for one in people for v in one.vectors if v.fault is not None]
    other = sum(v.fault is None and v.epoch != info.epoch for one in people for v in one.vectors)
    findings = []
    if len(people) < info.identities:
        findings.append(
            _fault(f"{info.identities - len(people)} identities cannot be read", "remove and enrol them again")
        )
    if faults:
        findings.append(_fault(f"{len(faults)} vectors cannot be read, first {faults[0]}", "remove and enrol again"))
    if other:
        findings.append(_warning(f"{other} vectors of another epoch than {info.epoch}", "enrol them again"))
    return findings


def _replicas(replicas: Sequence[ReplicaReport], info: GalleryInfo) -> list[Finding]:
    findings = []
    for one in replicas:
        if one.seq < info.seq and one.generation == info.generation:
            findings.append(
                _fault(f"{one.replica} is {info.seq - one.seq} changes behind", "look at its log and its connection")
            )
        if one.canary_failures:
            findings.append(
                _fault(
                    f"{one.replica} does not find {', '.join(one.canary_failures)}, who are in the gallery",
                    "restart it, and report this",
                )
            )
    return findings


def _calibration(info: GalleryInfo, drifted: float | None, referenced: bool) -> list[Finding]:
    remedy = f"`foveal gallery calibrate {info.name} --fpir 0.01`"
    if info.calibration is None:
        return [_warning(f"the threshold {info.threshold:g} is not calibrated", remedy)]
    findings = []
    then = info.calibration.identities
    if not then / 2 <= info.identities <= then * 2:
        findings.append(_warning(f"calibrated with {then:,} identities, it has {info.identities:,}", remedy))
    if drifted is not None and drifted > DRIFTED:
        findings.append(
            _warning(
                f"best scores have drifted by {drifted:.2f} since the calibration",
                f"look at the cameras, then {remedy}",
            )
        )
    return findings


def _drift(replicas: Sequence[ReplicaReport], reference: bytes | None) -> float | None:
    if reference is None or not replicas:
        return None
    return drift(np.sum([one.scores for one in replicas], axis=0), json.loads(reference))


def _suspects(people: Sequence[LoadedIdentity], info: GalleryInfo, apart: set[str]) -> tuple[list[Suspects], int]:
    """Pairs whose vectors meet at the gallery's threshold, or surely where both are provisional, nearest first."""
    table = IdentityTable(info.dimension)
    newest = {}
    provisional = {one.identity_id for one in people if is_provisional(one.identity_id, one.name)}
    for one in people:
        sound = [
            (v.polarity, v.embedding)
            for v in one.vectors
            if v.embedding is not None and v.polarity is not None and v.epoch == info.epoch
        ]
        table.put(one.identity_id, one.name, sound)
        positive = [embedding for polarity, embedding in sound if polarity == "positive"]
        if positive:
            newest[one.identity_id] = positive[-1]
    if not newest:
        return [], 0
    table.prepare(wait=True)
    step = max(1, len(newest) // SUSPECTS_LOOKED_AT)
    drawn = list(newest)[::step][:SUSPECTS_LOOKED_AT]
    found: dict[str, Suspects] = {}
    for identity_id, best in zip(drawn, table.rank(np.stack([newest[i] for i in drawn]), 2), strict=True):
        for other in best:
            pair = " ".join(sorted((identity_id, other.identity_id)))
            least = info.provisional_from if {identity_id, other.identity_id} <= provisional else info.threshold
            if other.identity_id != identity_id and other.score >= least and pair not in apart:
                a, b = pair.split()
                found[pair] = Suspects(identity_id=a, other_id=b, score=round(other.score, 4))
    return sorted(found.values(), key=lambda one: -one.score), len(drawn)


def _fault(what: str, remedy: str) -> Finding:
    return Finding(level="fault", what=what, remedy=remedy)


def _warning(what: str, remedy: str) -> Finding:
    return Finding(level="warning", what=what, remedy=remedy)
