"""The fast reader: exact copies of galleries in memory, so that a match costs no round trip."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gallery.config import GalleryConfig
from gallery.errors import EpochMismatchError, GalleryUnavailableError, UnknownGalleryError
from gallery.follower import Follower, FollowState, Replica
from gallery.schema import Candidate, GalleryInfo, Match, check_embeddings, is_provisional
from gallery.scores import drift
from gallery.store import GalleryStore

__all__ = ["GalleryHealth", "GalleryIndex", "IndexHealth"]

NAMED_KEYS = 20
STOP_TIMEOUT_S = 10.0
TOP_WITH_PROVISIONAL = 10
"""So that provisional identities hide no known one."""


@dataclass(frozen=True, slots=True)
class GalleryHealth:
    """One gallery of an index. `corrupt_keys` names the first 20 vectors that could not be read."""

    name: str
    epoch: str
    threshold: float
    identities: int
    vectors: int
    corrupt: int
    corrupt_keys: tuple[str, ...]
    other_epoch: int
    seq: int
    megabytes: float
    """Of the vectors and their codes in memory."""
    matches: int
    drift: float | None
    """Of the best scores from those after the last calibration, 0 to 1; None until there are enough."""
    canaries: int
    canary_failures: int


@dataclass(frozen=True, slots=True)
class IndexHealth:
    """How an index is: `available` is whether a match would be answered; `age_s` since the server's last answer."""

    state: FollowState
    available: bool
    age_s: float | None
    error: str | None
    resyncs: int
    galleries: tuple[GalleryHealth, ...]


class GalleryIndex:
    """Answers matches from memory, in step with Redis within a second.

    An absent server does not fail `start()`: matches say `unavailable` until it comes, and again after
    `gallery.stale_after_s` without an answer. A context manager starts and stops it.
    """

    def __init__(
        self, config: GalleryConfig, *, galleries: Sequence[str] | None = None, epoch: str | None = None
    ) -> None:
        """`galleries` are the ones to hold; None holds all of the server's, also those created later.

        `epoch` is the network whose embeddings will be looked up: a gallery that goes over to another one is answered
        from as it is by this one, as long as it keeps that (`gallery/reembedding.py`).
        """
        self._config = config
        self._galleries = galleries
        self._follower = Follower(config, galleries, epoch)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to follow, on a thread of its own; returns at once and never fails for an absent server."""
        if self._follower.ident is not None and not self._follower.is_alive():
            self._follower = Follower(self._config, self._galleries)  # a thread starts only once
        if not self._follower.is_alive():
            self._follower.start()

    def stop(self) -> None:
        """End the thread and its connection. `start` begins afresh."""
        self._follower.stop(STOP_TIMEOUT_S)

    def check(self) -> str:
        """Strict, for commands: the server's name and version. Raises: GalleryUnavailableError within 10 s."""
        with GalleryStore(self._config) as store:
            return store.check()

    def wait_until_synced(self, timeout_s: float) -> None:
        """Wait for the first load. Raises: GalleryUnavailableError with what stands in the way."""
        if not self._follower.synced.wait(timeout_s):
            error = self._follower.error
            raise GalleryUnavailableError(
                str(error)
                if error is not None
                else f"gallery.url: {self._config.address} was not loaded within {timeout_s:g} s"
            ) from error

    def match(self, embeddings: ArrayLike, gallery: str, *, epoch: str | None = None) -> list[Match]:
        """One answer for each of the embeddings, float32 [N, D] of unit norm (or [D]).

        Raises: UnknownGalleryError, DimensionMismatchError, InvalidEmbeddingError (with the rows at fault), and
        EpochMismatchError where `epoch`, the embedder's, is given and is not the gallery's. Never for an absent
        server: that is the status `unavailable`.
        """
        rows = check_embeddings(embeddings) if _count(embeddings) else None
        if not self.available:
            return [Match("unavailable")] * (0 if rows is None else len(rows))
        replica = self._replica(gallery)
        with replica.lock:
            threshold = replica.info.threshold
            _same_epoch(replica, epoch)
            if rows is None:
                return []
            top = 2 if replica.info.provisional is None else TOP_WITH_PROVISIONAL
            ranked = replica.table.rank(check_embeddings(rows, dimension=replica.table.dimension), top=top)
            named = [[c.score for c in best if not is_provisional(c.identity_id, c.name)] for best in ranked]
            replica.scores.add([scores[0] for scores in named if scores])
            calibration, provisional_from = replica.info.calibration, replica.info.provisional_from
        return [Match.decide(best, threshold, calibration, provisional_from=provisional_from) for best in ranked]

    def search(self, embeddings: ArrayLike, gallery: str, *, top: int = 5) -> list[list[Candidate]]:
        """The best `top` identities for each embedding, whatever the threshold. Raises: as `match`, and
        GalleryUnavailableError where `match` would say `unavailable`."""
        rows = check_embeddings(embeddings)
        replica = self._available_replica(gallery)
        with replica.lock:
            return replica.table.rank(check_embeddings(rows, dimension=replica.table.dimension), top=top)

    def positives(
        self, gallery: str, *, epoch: str
    ) -> tuple[NDArray[np.float32], list[int], dict[int, tuple[str, str | None]]]:
        """A copy of the positive vectors [N, D], whose each is by number, and the id and name of each number.

        Raises: UnknownGalleryError, GalleryUnavailableError, EpochMismatchError where the gallery's is not `epoch`.
        """
        replica = self._available_replica(gallery)
        with replica.lock:
            _same_epoch(replica, epoch)
            return replica.table.positives()

    def info(self, gallery: str) -> GalleryInfo | None:
        """A gallery's policies and settings, as this index knows them; None where there is no such gallery."""
        replica = self._follower.replicas.get(gallery)
        return None if replica is None else replica.info

    @property
    def available(self) -> bool:
        """Whether matches are answered now: loaded once, and the server answered within `gallery.stale_after_s`."""
        answered = self._follower.answered_at_s
        return (
            self._follower.synced.is_set()
            and answered is not None
            and time.monotonic() - answered <= self._config.stale_after_s
        )

    def health(self) -> IndexHealth:
        """A snapshot for `check_health`, metrics and the operations page."""
        follower = self._follower
        answered, error = follower.answered_at_s, follower.error
        return IndexHealth(
            state=follower.state,
            available=self.available,
            age_s=None if answered is None else time.monotonic() - answered,
            error=None if error is None else str(error),
            resyncs=follower.resyncs,
            galleries=tuple(_gallery_health(r) for _, r in sorted(follower.replicas.copy().items())),
        )

    def _available_replica(self, gallery: str) -> Replica:
        if not self.available:
            raise GalleryUnavailableError(
                f"gallery.url: {self._config.address} has not answered for {self._config.stale_after_s:g} s or more; "
                "look at the server, the search goes on by itself when it is back"
            ) from self._follower.error
        return self._replica(gallery)

    def _replica(self, gallery: str) -> Replica:
        replica = self._follower.replicas.get(gallery)
        if replica is None:
            raise UnknownGalleryError(
                f"gallery: expected one that exists, got {gallery!r}; `foveal gallery list` shows all, "
                f"`foveal gallery create {gallery}` makes it"
            )
        return replica


def _same_epoch(replica: Replica, epoch: str | None) -> None:
    if epoch is not None and epoch != replica.info.epoch:
        raise EpochMismatchError(
            f"epoch: expected {replica.info.epoch!r}, that of the gallery {replica.info.name!r}, got {epoch!r}; "
            "embed with that model, or create a gallery for the new one and enrol again"
        )


def _count(embeddings: ArrayLike) -> int:
    return int(np.size(np.asarray(embeddings)))


def _gallery_health(replica: Replica) -> GalleryHealth:
    with replica.lock:
        return GalleryHealth(
            name=replica.info.name,
            epoch=replica.info.epoch,
            threshold=replica.info.threshold,
            identities=len(replica.table),
            vectors=replica.table.vectors,
            corrupt=len(replica.corrupt),
            corrupt_keys=tuple(sorted(replica.corrupt)[:NAMED_KEYS]),
            other_epoch=len(replica.other_epoch),
            seq=replica.seq,
            megabytes=round(replica.table.nbytes / 2**20, 1),
            matches=replica.scores.added,
            drift=None if replica.reference is None else drift(replica.scores.counts, replica.reference),
            canaries=replica.canaries.looked_up,
            canary_failures=len(replica.canaries.failed),
        )
