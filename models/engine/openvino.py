"""OpenVINO: engines for a CPU, bf16 where the processor has it."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
import openvino as ov

from models.engine.base import Arrays, Collect, Engine, EngineInfo
from models.engine.config import CompilerName, EngineConfig, Precision
from models.engine.recycle import Recycler
from models.engine.shapes import ShapeProfile
from models.errors import BuildError, EngineError
from models.spec import TensorSpec

__all__ = ["OpenVinoCompiler", "OpenVinoEngine", "shared_core"]

DEVICE = "CPU"
_NATIVE = {"bf16": "BF16", "f16": "FP16", "f32": "FP32", "int8": "INT8"}
_HINT = {"bf16": "bf16", "f16": "f16", "f32": "f32"}


@functools.cache
def shared_core() -> ov.Core:
    """One for the process, kept to its end.

    The CPU plugin gives the thread that loads it an alternate signal stack and unmaps it when the last user of the
    plugin goes, on whatever thread that is: the first thread's next signal, a Ctrl-C, then ended the process (SIGSEGV).
    """
    return ov.Core()


class OpenVinoCompiler:
    """Builds and loads; one an `EngineConfig`."""

    name: CompilerName = "openvino"

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._streams = config.streams or 1
        self._core = shared_core()
        self.version = str(ov.__version__)
        self._capabilities = tuple(sorted(self._core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")))
        self.precision: Precision = self._choose()
        self.eight_bits = config.precision in ("auto", "int8") and "INT8" in self._capabilities

    @property
    def device(self) -> str:
        """Processor name and what it can do: an engine built on another one is not loaded."""
        return f"{self._core.get_property(DEVICE, 'FULL_DEVICE_NAME').strip()} [{' '.join(self._capabilities)}]"

    def build(self, onnx_bytes: bytes, model: str, inputs: tuple[TensorSpec, ...], profile: ShapeProfile) -> bytes:
        """Compile to a blob for `load`. Raises: BuildError."""
        try:
            graph = self._core.read_model(onnx_bytes)
            graph.reshape({tensor.name: _partial_shape(profile, tensor) for tensor in inputs})
            compiled = self._core.compile_model(graph, DEVICE, self._settings())
            return bytes(compiled.export_model().getvalue())
        except RuntimeError as error:
            raise BuildError(f"{model}: OpenVINO {self.version} could not build it: {_first_line(error)}") from error

    def load(
        self,
        blob: bytes,
        info: EngineInfo,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        profile: ShapeProfile,
    ) -> OpenVinoEngine:
        """An engine ready to run. Raises: EngineError if the blob cannot be used."""
        try:
            compiled = self._core.import_model(blob, DEVICE, self._settings())
        except RuntimeError as error:
            raise EngineError(f"{info.model}: OpenVINO cannot load the engine: {_first_line(error)}") from error
        return OpenVinoEngine(compiled, info, inputs, outputs, profile, self._streams)

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINT[self.precision],
            "PERFORMANCE_HINT": "LATENCY" if self._streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": str(self._streams),
            # A lone inference is faster on cores of its own; several are held up by whatever else runs on theirs.
            "ENABLE_CPU_PINNING": self._streams == 1,
        }
        if self._config.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = self._config.threads
        return settings

    def _choose(self) -> Precision:
        """In which layers compute that are not quantized."""
        asked = self._config.precision
        if asked != "auto" and _NATIVE[asked] not in self._capabilities:
            raise EngineError(
                f"engine.precision: expected auto or f32, got {asked}: this processor has only "
                f"{', '.join(self._capabilities)}; set engine.precision: auto"
            )
        if asked == "auto" or asked == "int8":
            return "bf16" if "BF16" in self._capabilities else "f32"
        return asked


class OpenVinoEngine(Engine):
    """One compiled model with a free list of infer requests: each batch on its way holds one."""

    def __init__(
        self,
        compiled: ov.CompiledModel,
        info: EngineInfo,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        profile: ShapeProfile,
        side_by_side: int = 1,
    ) -> None:
        super().__init__(info, inputs, outputs, profile, side_by_side)
        self._compiled: ov.CompiledModel | None = compiled
        self._ports = {name: index for index, port in enumerate(compiled.outputs) for name in port.get_names()}
        self._fixed = not any(port.partial_shape.is_dynamic for port in compiled.outputs)
        self._free: list[ov.InferRequest] = []
        self._memory = Recycler()
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            self._free.clear()
            self._compiled = None

    def _start(self, inputs: Arrays) -> Collect:
        with self._lock:
            if self._compiled is None:
                raise EngineError(f"{self.info.model}: the engine is closed")
            request = self._free.pop() if self._free else self._compiled.create_infer_request()
        own = self._give_outputs(request) if self._fixed else None
        request.start_async(inputs, share_inputs=True)
        return functools.partial(self._collect, request, inputs, own)

    def _give_outputs(self, request: ov.InferRequest) -> Arrays:
        """Memory that the request writes to and the caller gets: copies of large pictures take milliseconds."""
        own: Arrays = {}
        for tensor in self.outputs:
            port = request.model_outputs[self._ports[tensor.name]]
            own[tensor.name] = self._memory.take(tuple(port.shape), port.element_type.to_dtype())
            request.set_tensor(port, ov.Tensor(own[tensor.name], shared_memory=True))
        return own

    def _collect(self, request: ov.InferRequest, inputs: Arrays, own: Arrays | None) -> Arrays:
        """`inputs` is held here because the request reads the caller's memory until it is done."""
        try:
            request.wait()
        except RuntimeError as error:
            raise EngineError(f"{self.info.model}: inference failed: {_first_line(error)}") from error
        found = own or {
            tensor.name: np.array(request.get_tensor(tensor.name).data, copy=True, order="C") for tensor in self.outputs
        }
        with self._lock:
            if self._compiled is not None:
                self._free.append(request)
        return found


def _partial_shape(profile: ShapeProfile, tensor: TensorSpec) -> ov.PartialShape:
    return ov.PartialShape(
        [ov.Dimension(-1) if size is None else ov.Dimension(size[0], size[2]) for size in profile.ranges[tensor.name]]
    )


def _first_line(error: Exception) -> str:
    """The last line says what, the first ones where in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " / ".join(lines[-2:]) if lines else repr(error)
