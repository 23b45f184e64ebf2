"""How often something can be called: one turn of a comparison in turns."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["TURNS", "TURN_S", "calls_a_second"]

TURNS, TURN_S = 5, 1.5


def calls_a_second(call: Callable[[], object]) -> float:
    """Calls a second over `TURN_S`, after one that is not counted."""
    call()
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < TURN_S:
        call()
        count += 1
    return count / spent
