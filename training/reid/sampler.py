"""PK sampling that spreads an identity's crops over its cameras.

Hermans et al., 2017, section 2 (PK batches); cameras first, so that a positive pair is seldom of one camera.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["CameraAwareBatches"]


class CameraAwareBatches:
    """Batches of `people` identities with `crops_each` crops, every identity once before any comes again."""

    def __init__(
        self,
        identities: NDArray[np.int64],
        cameras: NDArray[np.int64],
        people: int,
        crops_each: int,
        generator: np.random.Generator,
    ) -> None:
        self._by_camera: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, (identity, camera) in enumerate(zip(identities.tolist(), cameras.tolist(), strict=True)):
            self._by_camera[identity][camera].append(index)
        self._people, self._crops_each, self._generator = people, crops_each, generator

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Endless: indices int64 [people * crops_each]."""
        waiting: list[int] = []
        while True:
            if len(waiting) < self._people:
                waiting += self._generator.permutation(list(self._by_camera)).tolist()
            chosen = list(dict.fromkeys(waiting))[: self._people]
            for identity in chosen:
                waiting.remove(identity)
            yield np.concatenate([self._draw(identity) for identity in chosen])

    def _draw(self, identity: int) -> NDArray[np.int64]:
        cameras = self._by_camera[identity]
        order = self._generator.permutation(list(cameras)).tolist()
        pools = [self._generator.permutation(cameras[camera]).tolist() for camera in order]
        drawn: list[int] = []
        while len(drawn) < self._crops_each:
            if not any(pools):  # fewer crops than asked for: repeat
                pools = [self._generator.permutation(cameras[camera]).tolist() for camera in order]
            drawn += [pool.pop() for pool in pools if pool][: self._crops_each - len(drawn)]
        return np.array(drawn, np.int64)
