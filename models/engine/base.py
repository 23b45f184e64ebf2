"""What every engine does: check the arrays, split or fill the batch, run, and put the answers together."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engine.config import CompilerName, Precision
from models.engine.shapes import ShapeProfile
from models.errors import InputShapeError
from models.spec import TensorSpec

__all__ = ["Arrays", "Collect", "Engine", "EngineInfo", "Pending"]

Arrays = dict[str, NDArray[Any]]
Collect = Callable[[], Arrays]
"""Waits for one started inference and returns its outputs, owned by the caller."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is: the network, its ONNX digest, compiler and version, device, precision."""

    model: str
    onnx_sha256: str
    compiler: CompilerName
    compiler_version: str
    device: str
    precision: Precision


@dataclass(slots=True)
class Pending:
    """A batch on its way. The arrays given must not be changed until `result` has returned."""

    _collect: Collect

    def result(self) -> Arrays:
        """Wait for it; once only. Raises: EngineError."""
        return self._collect()


class Engine(ABC):
    """A compiled network. Any thread may call it; several batches may be on their way at once.

    `inputs` and `outputs` are what `run` takes and returns: with `from_uint8` the input is uint8 NHWC BGR.
    `side_by_side` is how many inferences it runs at once: a batch is cut into as many.
    """

    def __init__(
        self,
        info: EngineInfo,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        profile: ShapeProfile,
        side_by_side: int = 1,
    ) -> None:
        self.info = info
        self.inputs = inputs
        self.outputs = outputs
        self.profile = profile
        self._side_by_side = side_by_side

    @property
    def device(self) -> str:
        """Name of the processor or GPU, with what it can do."""
        return self.info.device

    @property
    def precision(self) -> Precision:
        """In which it computes."""
        return self.info.precision

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Infer one batch and wait.

        A batch larger than the profile's is split; one smaller than its smallest is filled up with its last item and
        the answers cut. Shapes and dtypes as in `inputs` and `outputs`; the outputs are the caller's own.
        Raises: InputShapeError (name, dtype, shape or an empty batch), EngineError.
        """
        return self.run_async(inputs).result()

    def run_async(self, inputs: Mapping[str, NDArray[Any]]) -> Pending:
        """Start one batch and return at once, so that the next can be prepared meanwhile. Raises: as `run`."""
        size = self._check(inputs)
        batch = self.profile.batch()
        low, high = (1, size) if batch is None else (batch[0], batch[2])
        part = min(high, max(low, -(-size // self._side_by_side)))
        starts = range(0, size, part)
        begun = [self._begin(inputs, at, min(at + part, size), low) for at in starts[: self._side_by_side]]

        def collect() -> Arrays:
            parts = [one() for one in begun]
            parts += [self._begin(inputs, at, min(at + part, size), low)() for at in starts[len(begun) :]]
            return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}

        return Pending(begun[0] if size <= part else collect)

    def warm(self) -> float:
        """Infer zeros of the usual shape, two batches at once, so that no frame pays for the start. Returns seconds."""
        began = time.perf_counter()
        zeros = {t.name: np.zeros(self.profile.usual(t), np.dtype(t.dtype)) for t in self.inputs}
        for pending in [self.run_async(zeros) for _ in range(2)]:
            pending.result()
        return time.perf_counter() - began

    @abstractmethod
    def close(self) -> None:
        """Give back memory and device; the engine is not used after that."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _start(self, inputs: Arrays) -> Collect:
        """Begin one inference on contiguous arrays that were checked."""

    def _begin(self, inputs: Mapping[str, NDArray[Any]], start: int, stop: int, low: int) -> Collect:
        """Start the items [start, stop), filled up to `low` with the last one."""
        count = stop - start
        part: Arrays = {}
        for tensor in self.inputs:
            array = inputs[tensor.name]
            if tensor.layout[0] == "N":
                array = array[start:stop]
                if count < low:
                    array = np.concatenate([array, np.repeat(array[-1:], low - count, axis=0)])
            part[tensor.name] = np.ascontiguousarray(array)
        collect = self._start(part)
        if count >= low:
            return collect
        return lambda: {name: array[:count] for name, array in collect().items()}

    def _check(self, inputs: Mapping[str, NDArray[Any]]) -> int:
        """The size of the batch. Raises: InputShapeError."""
        expected = [tensor.name for tensor in self.inputs]
        if set(inputs) != set(expected):
            raise InputShapeError(f"{self.info.model}: expected the inputs {expected}, got {sorted(inputs)}")
        sizes: dict[str, int] = {}
        for tensor in self.inputs:
            array = inputs[tensor.name]
            if array.dtype != np.dtype(tensor.dtype):
                raise InputShapeError(f"{self.info.model}: {tensor.name}: expected {tensor.dtype}, got {array.dtype}")
            if array.size == 0:
                raise InputShapeError(f"{self.info.model}: {tensor.name}: empty array of shape {array.shape}")
            self.profile.check(tensor, array.shape)
            if tensor.layout[0] == "N":
                sizes[tensor.name] = array.shape[0]
        if len(set(sizes.values())) > 1:
            raise InputShapeError(f"{self.info.model}: inputs of one batch have different sizes: {sizes}")
        return next(iter(sizes.values()), 1)
