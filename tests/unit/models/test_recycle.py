"""Memory that is given out again: never while anybody holds it or a view of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from models.engine.recycle import SPARE, Recycler


def test_what_is_held_is_not_given_out_again() -> None:
    memory = Recycler()
    first = memory.take((4, 8))
    view = first[1:3, ::2]
    address = first.ctypes.data
    del first
    second = memory.take((4, 8))
    assert not np.shares_memory(view, second)
    del view
    third = memory.take((4, 8))
    assert third.ctypes.data == address
    assert not np.shares_memory(second, third)


def test_shape_and_type_are_as_asked() -> None:
    memory = Recycler()
    memory.take((4, 8))
    assert memory.take((8, 4)).shape == (8, 4)
    assert memory.take((4, 8), np.float16).dtype == np.float16


def test_of_what_nobody_holds_little_is_kept() -> None:
    memory = Recycler()
    for size in range(1, 20):
        memory.take((size, 1000))
    assert len(memory._given) <= SPARE + 1


def test_threads_never_get_the_same() -> None:
    memory = Recycler()

    def use(mark: int) -> bool:
        for _ in range(300):
            array = memory.take((64,))
            array[:] = mark
            if not (array == mark).all():
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(4)))
