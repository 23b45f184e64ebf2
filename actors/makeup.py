"""People seen while the gallery could not be asked are looked up when it can be, and written to its sightings.

The frame's result has gone out by then and stays as it was, `unavailable`: what is made up for is who was seen where
and when. Kept in memory, bounded in number and in time; beside the way of the frame and never in it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gallery.errors import GalleryError
from gallery.index import GalleryIndex
from gallery.schema import Match, Sighting
from gallery.store import GalleryStore

__all__ = ["MissedMatches"]

logger = logging.getLogger(__name__)

MAX_WAITING = 4_096
MAX_REMEMBERED = 65_536
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class _Missed:
    gallery: str
    embedding: NDArray[np.float32]
    sighting: Sighting
    at_s: float


class MissedMatches:
    """A thread that waits for the gallery. One look-up a track and stream in each `interval_s`, as sightings are a
    sample; those older than `keep_s`, or beyond 4,096, are given up and counted."""

    def __init__(
        self,
        store: GalleryStore,
        index: GalleryIndex,
        *,
        epoch: str,
        interval_s: float,
        keep_s: float,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._index = index
        self._epoch = epoch
        self._interval_s = interval_s
        self._keep_s = keep_s
        self._clock_s = clock_s
        self._waiting: deque[_Missed] = deque()
        self._lock = threading.Lock()
        self._last_s: dict[tuple[str, str, int | None], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="missed-matches", daemon=True)
        self.made_up = 0
        """Matches that were made later, whoever it was."""
        self.given_up = 0

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Let go of what waits."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def add(self, gallery: str, embedding: NDArray[np.float32], sighting: Sighting) -> None:
        """Offer one person, float32 [D] of unit norm, whose sighting has no identity yet; returns at once."""
        now_s = self._clock_s()
        key = (gallery, sighting.stream_id, sighting.track_id)
        if now_s - self._last_s.get(key, -float("inf")) < self._interval_s:
            return
        if len(self._last_s) >= MAX_REMEMBERED:
            self._last_s.clear()
        self._last_s[key] = now_s
        with self._lock:
            self._waiting.append(_Missed(gallery, embedding, sighting, now_s))
            while len(self._waiting) > MAX_WAITING or now_s - self._waiting[0].at_s > self._keep_s:
                self._waiting.popleft()
                self.given_up += 1

    def _run(self) -> None:
        while not self._ended.wait(POLL_S):
            if not self._waiting or not self._index.available:
                continue
            with self._lock:
                missed, self._waiting = list(self._waiting), deque()
            fresh = [one for one in missed if self._clock_s() - one.at_s <= self._keep_s]
            self.given_up += len(missed) - len(fresh)
            for gallery in {one.gallery for one in fresh}:
                self._look_up(gallery, [one for one in fresh if one.gallery == gallery])

    def _look_up(self, gallery: str, missed: list[_Missed]) -> None:
        try:
            matches = self._index.match(np.stack([one.embedding for one in missed]), gallery, epoch=self._epoch)
            if matches[0].status == "unavailable":  # gone again
                self._put_back(missed)
                return
            found = [_found(one, match) for one, match in zip(missed, matches, strict=True)]
            self._store.record_sightings(gallery, [sighting for sighting in found if sighting is not None])
            self.made_up += len(missed)
        except GalleryError as error:
            if error.retriable:
                self._put_back(missed)
            else:
                self.given_up += len(missed)
                logger.warning("%d matches in %s are not made up for: %s", len(missed), gallery, error)

    def _put_back(self, missed: list[_Missed]) -> None:
        with self._lock:
            self._waiting.extendleft(reversed(missed))


def _found(missed: _Missed, match: Match) -> Sighting | None:
    if match.identity_id is None:
        return None
    return missed.sighting.model_copy(update={"identity_id": match.identity_id, "score": match.score})
