"""Memory for large arrays that is given out again once nobody holds it.

Fresh pages cost many times what filling them costs, most of all in a virtual machine that hands freed ones back.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Recycler"]

SPARE = 4
"""Of arrays that nobody holds so many are kept."""


class Recycler:
    """Arrays of any shape. What was taken, and all views of it, are the caller's until the last one is dropped."""

    def __init__(self) -> None:
        self._given: list[NDArray[Any]] = []
        self._lock = threading.Lock()

    def take(self, shape: Sequence[int], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """An array with anything in it."""
        shape, kind = tuple(shape), np.dtype(dtype)
        with self._lock:
            free = [index for index in range(len(self._given)) if _holders(self._given, index) == UNHELD]
            for index in reversed(free):
                if self._given[index].shape == shape and self._given[index].dtype == kind:
                    self._given.append(self._given.pop(index))  # last is the one used last
                    return self._given[-1]
            for index in reversed(free[:-SPARE]):
                del self._given[index]
            self._given.append(np.empty(shape, kind))
            return self._given[-1]


def _holders(arrays: list[NDArray[Any]], index: int) -> int:
    return sys.getrefcount(arrays[index])


UNHELD = _holders([np.empty(0)], 0)
