"""Unknown people become provisional identities where their gallery's policy says so, beside the way of the frame.

A person is remembered once his track has shown three good views of him over half a second; the same person on another
stream is then found by matching. Later views on the track are added, so that he is known from more sides; and whenever
he is remembered or a view is added, others who surely are the same person are looked for and merged.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actors.crops import encode_crop
from actors.quality import crop_quality
from gallery.crops import keep_crops
from gallery.errors import CropKeyError, GalleryError
from gallery.index import GalleryIndex
from gallery.provisional import add_provisional, add_view, join
from gallery.schema import PROVISIONAL, Sighting
from gallery.store import GalleryStore

__all__ = ["UnknownPeople"]

logger = logging.getLogger(__name__)

VIEWS, SPAN_MS = 3, 500
LEAST_QUALITY = 0.15
"""Of a view: small, blurred and cut-off crops look like anybody."""
MAX_WAITING, MAX_TRACKS = 1_024, 4_096
FORGET_AFTER_S = 60.0
FRESH_S = 5.0
"""So long an index may not know yet whom this replica remembered."""
JOIN_AFTER_S = 1.0
"""Others are looked for when the index has read of the change."""
MOST_KEPT = 12
MORE_VIEWS, MORE_EVERY_MS = 8, 2_000
POLL_S = 0.2
WARN_EVERY_S = 10.0

Vector = NDArray[np.float32]
Key = tuple[str, str, int | None]


@dataclass(frozen=True, slots=True)
class _View:
    """One look at a person; `crop` is his part of the picture, None where none may be kept."""

    looks: Vector
    quality: float
    crop: NDArray[np.uint8] | None


@dataclass(slots=True)
class _Track:
    """Views of one unknown person until he is remembered; `identity_id` from then on."""

    at_s: float
    first_ms: int
    views: list[_View] = field(default_factory=list)
    identity_id: str | None = None
    added: int = 0
    added_ms: int = 0


@dataclass(frozen=True, slots=True)
class _Fresh:
    gallery: str
    identity_id: str
    looks: Vector
    at_s: float


class UnknownPeople:
    """A thread that remembers. What comes faster than Redis takes it is left out: people are seen again and again."""

    def __init__(
        self, store: GalleryStore, index: GalleryIndex, *, epoch: str, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._index, self._epoch, self._clock_s = store, index, epoch, clock_s
        self._waiting: queue.Queue[tuple[str, _View, Sighting] | None] = queue.Queue(MAX_WAITING)
        self._tracks: dict[Key, _Track] = {}
        self._fresh: deque[_Fresh] = deque()
        self._joins: list[tuple[float, str, str]] = []
        self._warned_s = -WARN_EVERY_S
        self._thread = threading.Thread(target=self._run, name="unknown-people", daemon=True)
        self.remembered = 0
        self.joined = 0

    def start(self) -> None:
        """Begin to remember."""
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Let go of what waits."""
        while True:
            try:
                self._waiting.put_nowait(None)
                break
            except queue.Full:
                self._waiting.get_nowait()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def add(
        self,
        gallery: str,
        embedding: Vector,
        sighting: Sighting,
        image_bgr: NDArray[np.uint8],
        reduce: int,
        *,
        may_keep_crop: bool = False,
    ) -> None:
        """Offer one person on a track, whom the gallery knows not at all or provisionally; returns at once.

        Shapes: embedding float32 [D], unit norm; image uint8 [H, W, 3] BGR, `reduce` times smaller than the frame.
        """
        info = self._index.info(gallery)
        if sighting.track_id is None or sighting.box_xyxy is None or info is None or info.provisional is None:
            return
        left, top, right, bottom = (edge / reduce for edge in sighting.box_xyxy)
        quality = crop_quality(image_bgr, (left, top, right, bottom), whole=False)
        if quality < LEAST_QUALITY:
            return
        crop = None
        if may_keep_crop and info.crops is not None:
            crop = image_bgr[max(0, int(top)) : int(bottom) + 1, max(0, int(left)) : int(right) + 1].copy()
        try:
            self._waiting.put_nowait((gallery, _View(embedding, quality, crop), sighting))
        except queue.Full:
            return

    def _run(self) -> None:
        while True:
            try:
                offered = self._waiting.get(timeout=POLL_S)
                if offered is None:
                    return
                self._take(*offered)
            except queue.Empty:
                pass
            except GalleryError as error:
                self._warn("nobody is remembered", error)
            self._look_for_others()

    def _take(self, gallery: str, view: _View, sighting: Sighting) -> None:
        now_s = self._clock_s()
        if len(self._tracks) >= MAX_TRACKS:
            self._tracks = {key: one for key, one in self._tracks.items() if now_s - one.at_s < FORGET_AFTER_S}
        key = (gallery, sighting.stream_id, sighting.track_id)
        track = self._tracks.get(key)
        if track is None or now_s - track.at_s > FORGET_AFTER_S:
            track = self._tracks[key] = _Track(now_s, sighting.seen_at_ms)
        track.at_s = now_s
        if track.identity_id is not None:
            self._add_view(gallery, track, track.identity_id, view, sighting.seen_at_ms)
            return
        track.views = sorted([*track.views, view], key=lambda one: -one.quality)[:MOST_KEPT]
        if len(track.views) >= VIEWS and sighting.seen_at_ms - track.first_ms >= SPAN_MS:
            self._settle(gallery, track, sighting)

    def _settle(self, gallery: str, track: _Track, sighting: Sighting) -> None:
        info, now_s = self._index.info(gallery), self._clock_s()
        if info is None or info.provisional is None:
            return
        best = track.views[:VIEWS]
        views = np.stack([view.looks for view in best])
        looks = views.mean(axis=0)
        looks = np.asarray(looks / np.linalg.norm(looks), np.float32)
        [match] = self._index.match(looks, gallery, epoch=self._epoch)
        if match.status == "unavailable":
            return
        identity_id = match.identity_id or match.provisional or self._fresh_like(gallery, looks)
        if identity_id is None:
            qualities, reason = [view.quality for view in best], f"unknown on {sighting.stream_id}"
            done = add_provisional(
                self._store, gallery, views, qualities, info.provisional, epoch=self._epoch, reason=reason
            )
            identity_id = done.identity_id
            self._keep(gallery, identity_id, dict(zip(done.vector_numbers, best, strict=False)))
            self.remembered += 1
            self._fresh.append(_Fresh(gallery, identity_id, looks, now_s))
            self._joins.append((now_s + JOIN_AFTER_S, gallery, identity_id))
        self._store.record_sightings(gallery, [sighting.model_copy(update={"identity_id": identity_id})])
        track.identity_id, track.views, track.added_ms = identity_id, [], sighting.seen_at_ms

    def _fresh_like(self, gallery: str, looks: Vector) -> str | None:
        """Whom this replica has just remembered, and the index may not have read of yet."""
        while self._fresh and self._clock_s() - self._fresh[0].at_s > FRESH_S:
            self._fresh.popleft()
        sure = self._store.info(gallery).provisional_from
        alike = [one for one in self._fresh if one.gallery == gallery and float(one.looks @ looks) >= sure]
        return alike[-1].identity_id if alike else None

    def _add_view(self, gallery: str, track: _Track, identity_id: str, view: _View, at_ms: int) -> None:
        """He is the same on his track, however he turns; a known person's vectors are left to people."""
        due = track.added < MORE_VIEWS and at_ms - track.added_ms >= MORE_EVERY_MS
        if not due or not identity_id.startswith(PROVISIONAL):
            return
        track.added, track.added_ms = track.added + 1, at_ms
        number = add_view(self._store, gallery, identity_id, view.looks, view.quality, epoch=self._epoch)
        if number is None:
            track.identity_id, track.first_ms = None, at_ms  # he was removed, or merged: look again
            return
        self._keep(gallery, identity_id, {number: view})
        self._joins.append((self._clock_s() + JOIN_AFTER_S, gallery, identity_id))

    def _keep(self, gallery: str, identity_id: str, views: Mapping[int, _View]) -> None:
        """Keep the crops of vectors, where policies of gallery and stream let it."""
        crops: dict[int, bytes] = {}
        for number, view in views.items():
            if (
                view.crop is not None
                and (packed := encode_crop(view.crop, (0, 0, *view.crop.shape[1::-1]))) is not None
            ):
                crops[number] = packed
        try:
            keep_crops(self._store, gallery, identity_id, crops)
        except CropKeyError as error:
            self._warn("crops are not kept", error)

    def _look_for_others(self) -> None:
        now_s = self._clock_s()
        due = [one for one in self._joins if one[0] <= now_s]
        if not due:
            return
        self._joins = [one for one in self._joins if one[0] > now_s]
        for _, gallery, identity_id in due:
            try:
                self.joined += join(self._store, self._index, gallery, identity_id) is not None
            except GalleryError as error:
                self._warn("provisional identities are not merged", error)

    def _warn(self, what: str, error: Exception) -> None:
        if self._clock_s() - self._warned_s >= WARN_EVERY_S:
            self._warned_s = self._clock_s()
            logger.warning("%s: %s", what, error)
