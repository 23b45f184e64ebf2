"""Engines of fixed sizes behind one of open sizes, each built when its size first comes.

For networks of many small steps at full resolution: OpenVINO joins such steps only where it knows the sizes, and takes
two to three times as long where it does not. A first frame of a size waits for its engine, so sizes are warmed early.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from models.engine.base import Arrays, Collect, Engine, EngineInfo
from models.engine.shapes import ShapeProfile
from models.errors import EngineError
from models.spec import TensorSpec

__all__ = ["SizedEngine"]

KEPT = 6
"""Sizes in memory at once; the one that was used longest ago goes."""


class SizedEngine(Engine):
    """Batches run item by item: an engine for each size of a batch would be built while frames wait."""

    def __init__(
        self,
        info: EngineInfo,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        profile: ShapeProfile,
        load: Callable[[ShapeProfile], Engine],
    ) -> None:
        super().__init__(info, inputs, outputs, profile)
        self._load = load
        self._engines: OrderedDict[tuple[tuple[int, ...], ...], Engine] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._engines:
                self._engines.popitem()[1].close()

    def _start(self, inputs: Arrays) -> Collect:
        sizes = tuple((1, *inputs[tensor.name].shape[1:]) for tensor in self.inputs)
        with self._lock:
            if self._closed:
                raise EngineError(f"{self.info.model}: the engine is closed")
            engine = self._engines.get(sizes)
            if engine is None:
                fixed = {
                    tensor.name: tuple((size, size, size) for size in shape)
                    for tensor, shape in zip(self.inputs, sizes, strict=True)
                }
                engine = self._engines[sizes] = self._load(ShapeProfile(fixed))
            self._engines.move_to_end(sizes)
            if len(self._engines) > KEPT:
                self._engines.popitem(last=False)[1].close()
            return engine.run_async(inputs).result
