"""Known people are written to their gallery's sightings, beside the way of the frame and never in it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from gallery.errors import GalleryError
from gallery.schema import Sighting
from gallery.store import GalleryStore

__all__ = ["SightingsWriter"]

logger = logging.getLogger(__name__)

MAX_WAITING = 1024
MAX_REMEMBERED = 65_536
WARN_EVERY_S = 10.0


class SightingsWriter:
    """A thread that writes; what comes faster than Redis takes it is left out and counted, as sightings are a sample.

    One sighting an identity and stream in each `interval_s`. Event ids make a repeat after a crash harmless.
    """

    def __init__(self, store: GalleryStore, interval_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._interval_s = interval_s
        self._clock_s = clock_s
        self._waiting: queue.Queue[tuple[str, Sighting] | None] = queue.Queue(MAX_WAITING)
        self._last_s: dict[tuple[str, str, str], float] = {}
        self._warned_s = -WARN_EVERY_S
        self._thread = threading.Thread(target=self._write, name="sightings", daemon=True)
        self.left_out = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, within the timeout."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            self.left_out += self._waiting.qsize()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def add(self, gallery: str, sighting: Sighting) -> None:
        """Offer one; returns at once."""
        key = (gallery, sighting.identity_id, sighting.stream_id)
        now_s = self._clock_s()
        if now_s - self._last_s.get(key, -float("inf")) < self._interval_s:
            return
        if len(self._last_s) >= MAX_REMEMBERED:
            self._last_s.clear()
        self._last_s[key] = now_s
        try:
            self._waiting.put_nowait((gallery, sighting))
        except queue.Full:
            self.left_out += 1

    def _write(self) -> None:
        while (entry := self._waiting.get()) is not None:
            gallery, sighting = entry
            try:
                self._store.record_sightings(gallery, [sighting])
            except GalleryError as error:
                self.left_out += 1
                if self._clock_s() - self._warned_s >= WARN_EVERY_S:
                    self._warned_s = self._clock_s()
                    logger.warning("sightings are left out (%d so far): %s", self.left_out, error)
