"""How the galleries are, for Prometheus: sizes, canaries, drift, and what a check finds where they are not large."""

from __future__ import annotations

import logging
import threading
import time

from ray.util.metrics import Gauge

from gallery.errors import GalleryError
from gallery.health import check_gallery
from gallery.index import GalleryIndex
from gallery.store import GalleryStore

__all__ = ["GalleryMetrics"]

logger = logging.getLogger(__name__)

EVERY_S = 5.0
CHECK_EVERY_S = 600.0
MOST_CHECKED = 20_000
"""Identities: a check reads the gallery whole."""


class GalleryMetrics:
    """A thread that looks at an index every five seconds, and checks its galleries every ten minutes."""

    def __init__(self, store: GalleryStore, index: GalleryIndex) -> None:
        def gauge(name: str, description: str) -> Gauge:
            return Gauge(f"foveal_gallery_{name}", description, tag_keys=("gallery",))

        self._store = store
        self._index = index
        self._available = Gauge("foveal_galleries_available", "1 while matches are answered.")
        self._identities = gauge("identities", "Identities in memory.")
        self._vectors = gauge("vectors", "Vectors in memory.")
        self._corrupt = gauge("corrupt_vectors", "Vectors that cannot be read.")
        self._canaries = gauge("canary_failures", "Identities in Redis that are not found in memory.")
        self._drift = gauge("score_drift", "Distance of late best scores from those after the calibration, 0 to 1.")
        self._suspects = gauge("duplicate_suspects", "Pairs of identities that may be one person, 20 at most.")
        self._faults = gauge("faults", "Faults that the last check found.")
        self._checked_at_s = -CHECK_EVERY_S
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gallery-metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; a check that runs is not waited for."""
        self._ended.set()

    def look(self) -> None:
        """Set all gauges once."""
        health = self._index.health()
        self._available.set(1.0 if health.available else 0.0)
        for one in health.galleries:
            tags = {"gallery": one.name}
            self._identities.set(one.identities, tags)
            self._vectors.set(one.vectors, tags)
            self._corrupt.set(one.corrupt, tags)
            self._canaries.set(one.canary_failures, tags)
            if one.drift is not None:
                self._drift.set(one.drift, tags)
        if health.available and time.monotonic() - self._checked_at_s >= CHECK_EVERY_S:
            self._checked_at_s = time.monotonic()
            for one in health.galleries:
                if one.identities <= MOST_CHECKED:
                    found = check_gallery(self._store, one.name)
                    self._suspects.set(len(found.duplicate_suspects), {"gallery": one.name})
                    faults = sum(finding.level == "fault" for finding in found.findings)
                    self._faults.set(faults, {"gallery": one.name})

    def _run(self) -> None:
        while not self._ended.wait(EVERY_S):
            try:
                self.look()
            except GalleryError as error:
                logger.warning("galleries are not checked now: %s", error)
