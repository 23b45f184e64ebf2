"""What a replica remembers of one stream from frame to frame: who is on which track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.config import PerceptionConfig
from actors.decoding import DecodedFrame
from actors.events import PersonSeen
from models.tracking import Split, Tracker

__all__ = ["Following"]


@dataclass(frozen=True, slots=True)
class _People:
    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]


class Following:
    """One stream's tracks; it lives and goes with the stream's partition."""

    def __init__(self, config: PerceptionConfig) -> None:
        self._tracker = Tracker(config.tracking)

    def follow(self, frame: DecodedFrame, people: Sequence[PersonSeen]) -> tuple[Split, ...]:
        """Number the people, by how they look as well where all have embeddings; returns who is another one now."""
        boxes = np.array([person.box_xyxy for person in people], np.float32).reshape(-1, 4)
        scores = np.array([person.score for person in people], np.float32)
        views = [person.embedding for person in people if person.embedding is not None]
        ids = self._tracker.update(
            _People(boxes, scores),
            frame.image_bgr,
            frame.record.captured_at_ns / 1e9,
            embeddings=np.stack(views) if views and len(views) == len(people) else None,
            frame_scale=float(frame.reduce),
        )
        for person, track_id in zip(people, ids, strict=True):
            person.track_id = int(track_id) if track_id >= 0 else None
        return self._tracker.splits

    def close(self) -> None:
        """Forget all tracks."""
        self._tracker.reset()
