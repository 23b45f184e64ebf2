"""TensorRT: engines for NVIDIA GPUs, through the `tensorrt` package or `tensorrt_rtx`, whose interface is the same.

The builder of `tensorrt_rtx` works without a GPU for named compute capabilities, which is how CI compiles every
network. Running needs torch with CUDA, which is imported only then.
"""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from models.engine.base import Arrays, Collect, Engine, EngineInfo
from models.engine.config import CompilerName, EngineConfig, Precision
from models.engine.shapes import ShapeProfile
from models.errors import BuildError, CompilerMissingError, EngineError, SpecError, UnsupportedLayersError
from models.spec import TensorSpec

__all__ = ["TensorRtBuilder", "TensorRtCompiler", "TensorRtEngine", "device_of", "import_tensorrt"]

PACKAGES = ("tensorrt", "tensorrt_rtx")
REMEDY = "install the extra `gpu` on a machine with an NVIDIA driver, or set engine.compiler: openvino"
_LOGGERS: dict[str, Any] = {}


def device_of(capability: str) -> str:
    """How the registry names the GPUs of a compute capability such as 8.9."""
    return f"sm {capability}"


def import_tensorrt(packages: tuple[str, ...] = PACKAGES) -> ModuleType:
    """The first of the packages whose libraries are there. Raises: CompilerMissingError."""
    reasons = []
    for name in packages:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:  # the stub of `tensorrt` 11 fails in its own ways
            reasons.append(f"{name}: {error}")
            continue
        if hasattr(module, "Builder"):
            return module
        reasons.append(f"{name}: installed without its libraries")
    raise CompilerMissingError(f"engine.compiler: TensorRT is not usable here ({'; '.join(reasons)}); {REMEDY}")


class TensorRtBuilder:
    """Builds serialized engines; needs no GPU with `tensorrt_rtx` when compute capabilities are named."""

    def __init__(self, capabilities: tuple[str, ...] = (), packages: tuple[str, ...] = PACKAGES) -> None:
        """`capabilities` such as ("8.6", "8.9"); none means the GPU that is present."""
        self._trt = import_tensorrt(packages)
        self.version = f"{self._trt.__name__} {self._trt.__version__}"
        self.capabilities = capabilities
        self._logger = _logger(self._trt)

    def known_capabilities(self) -> list[str]:
        """What `tensorrt_rtx` can build for without the GPU, such as 8.9; none for `tensorrt`."""
        names = [name[2:] for name in dir(getattr(self._trt, "ComputeCapability", None)) if name.startswith("SM")]
        return sorted((f"{name[:-1]}.{name[-1]}" for name in names), key=float)

    def build(self, onnx_bytes: bytes, model: str, inputs: tuple[TensorSpec, ...], profile: ShapeProfile) -> bytes:
        """Parse and compile in float32 with TF32, as the network is typed.

        Raises: UnsupportedLayersError naming each layer, BuildError, SpecError (an open size in the profile).
        """
        trt = self._trt
        self._logger.messages.clear()
        builder = trt.Builder(self._logger)
        flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        network = builder.create_network(0 if flag is None else 1 << int(flag))
        parser = trt.OnnxParser(network, self._logger)
        if not parser.parse(onnx_bytes):
            errors = tuple(_describe(parser.get_error(i)) for i in range(parser.num_errors))
            raise UnsupportedLayersError(model, self.version, errors)
        config = builder.create_builder_config()
        config.add_optimization_profile(self._optimization_profile(builder, model, inputs, profile))
        self._target(config)
        blob = builder.build_serialized_network(network, config)
        if blob is None:
            raise BuildError(f"{model}: {self.version} built nothing: {' / '.join(self._logger.messages[-3:])}")
        return bytes(blob)

    def _target(self, config: Any) -> None:
        if not self.capabilities:
            return
        kind = getattr(self._trt, "ComputeCapability", None)
        if kind is None:
            raise BuildError(f"{self.version} builds only for the GPU that is present; install tensorrt-rtx-cu13")
        config.num_compute_capabilities = len(self.capabilities)
        for index, capability in enumerate(self.capabilities):
            value = getattr(kind, "SM" + capability.replace(".", ""), None)
            if value is None or not config.set_compute_capability(value, index):
                raise BuildError(
                    f"{self.version} cannot build for compute capability {capability!r}; "
                    f"it knows {', '.join(self.known_capabilities())}"
                )

    def _optimization_profile(
        self, builder: Any, model: str, inputs: tuple[TensorSpec, ...], profile: ShapeProfile
    ) -> Any:
        made = builder.create_optimization_profile()
        for tensor in inputs:
            ranges = profile.ranges[tensor.name]
            if any(size is None for size in ranges):
                raise SpecError(
                    f"{model}.{tensor.name}: TensorRT wants a range for every size of {tensor.layout}, got {ranges}; "
                    "give them in ShapeProfile.of(spec, batch=..., height=..., width=...)"
                )
            sizes = [size for size in ranges if size is not None]
            made.set_shape(tensor.name, *([size[which] for size in sizes] for which in range(3)))
        return made


class TensorRtCompiler:
    """Builds for the GPU that is present and loads; one an `EngineConfig`."""

    name: CompilerName = "tensorrt"

    def __init__(self, config: EngineConfig) -> None:
        """Raises: CompilerMissingError without TensorRT, torch with CUDA, or a GPU that it knows; EngineError."""
        self._trt = import_tensorrt()
        self._torch = _torch_with_cuda()
        self._device = self._torch.device("cuda", config.device)
        if config.device >= self._torch.cuda.device_count():
            raise CompilerMissingError(
                f"engine.device: expected 0 to {self._torch.cuda.device_count() - 1}, got {config.device}; {REMEDY}"
            )
        self._capability = "{}.{}".format(*self._torch.cuda.get_device_capability(self._device))
        self._builder = TensorRtBuilder()
        known = self._builder.known_capabilities()
        if known and self._capability not in known:
            raise CompilerMissingError(
                f"{self._builder.version} knows the compute capabilities {', '.join(known)}, this GPU has "
                f"{self._capability}; install the package `tensorrt`, or set engine.compiler: openvino"
            )
        if config.precision not in ("auto", "f32"):
            raise EngineError(
                f"engine.precision: TensorRT runs the network as typed (float32 with TF32), got {config.precision}; "
                "set engine.precision: auto"
            )
        self.version = self._builder.version
        self.precision: Precision = "f32"
        self.eight_bits = False

    @property
    def device(self) -> str:
        """What an engine is good for: `tensorrt_rtx` builds for a compute capability, `tensorrt` for a kind of GPU."""
        if self._builder.known_capabilities():
            return device_of(self._capability)
        return f"{self._torch.cuda.get_device_name(self._device)} [{device_of(self._capability)}]"

    def build(self, onnx_bytes: bytes, model: str, inputs: tuple[TensorSpec, ...], profile: ShapeProfile) -> bytes:
        """As `TensorRtBuilder.build`."""
        with self._torch.cuda.device(self._device):
            return self._builder.build(onnx_bytes, model, inputs, profile)

    def load(
        self,
        blob: bytes,
        info: EngineInfo,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        profile: ShapeProfile,
    ) -> TensorRtEngine:
        """An engine ready to run. Raises: EngineError if the blob cannot be used."""
        runtime = self._trt.Runtime(_logger(self._trt))
        with self._torch.cuda.device(self._device):
            engine = runtime.deserialize_cuda_engine(blob)
        if engine is None:
            messages = " / ".join(_logger(self._trt).messages[-2:])
            raise EngineError(f"{info.model}: {self.version} cannot load the engine: {messages}")
        return TensorRtEngine(engine, self._torch, self._device, info, inputs, outputs, profile)


class TensorRtEngine(Engine):
    """One deserialized engine with a free list of execution contexts, each on a CUDA stream of its own."""

    def __init__(
        self,
        engine: Any,
        torch: Any,
        device: Any,
        info: EngineInfo,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        profile: ShapeProfile,
    ) -> None:
        super().__init__(info, inputs, outputs, profile)
        self._engine: Any | None = engine
        self._torch = torch
        self._device = device
        self._free: list[tuple[Any, Any]] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            self._free.clear()
            self._engine = None

    def _start(self, inputs: Arrays) -> Collect:
        torch = self._torch
        with self._lock:
            if self._engine is None:
                raise EngineError(f"{self.info.model}: the engine is closed")
            context, stream = (
                self._free.pop()
                if self._free
                else (self._engine.create_execution_context(), torch.cuda.Stream(self._device))
            )
        if context is None:
            raise EngineError(f"{self.info.model}: no memory on the GPU for another batch; lower the batch or streams")
        with torch.cuda.device(self._device), torch.cuda.stream(stream):
            on_gpu = {
                name: torch.from_numpy(array).pin_memory().to(self._device, non_blocking=True)
                for name, array in inputs.items()
            }
            for name, tensor in on_gpu.items():
                context.set_input_shape(name, tuple(tensor.shape))
                context.set_tensor_address(name, tensor.data_ptr())
            found = {tensor.name: self._output(context, tensor) for tensor in self.outputs}
            if not context.execute_async_v3(stream.cuda_stream):
                raise EngineError(f"{self.info.model}: TensorRT refused to run the batch; the log has its reason")
            on_host = {name: tensor.to("cpu", non_blocking=True) for name, tensor in found.items()}
        return functools.partial(self._collect, context, stream, on_host, (inputs, on_gpu, found))

    def _output(self, context: Any, tensor: TensorSpec) -> Any:
        """Room for an output on the GPU, its address told to the context."""
        shape = tuple(context.get_tensor_shape(tensor.name))
        room = self._torch.empty(shape, dtype=getattr(self._torch, tensor.dtype), device=self._device)
        context.set_tensor_address(tensor.name, room.data_ptr())
        return room

    def _collect(self, context: Any, stream: Any, on_host: Mapping[str, Any], held: tuple[Any, ...]) -> Arrays:
        """`held` keeps the memory of inputs and outputs until the stream is done."""
        stream.synchronize()
        with self._lock:
            if self._engine is not None:
                self._free.append((context, stream))
        return {name: np.array(tensor.numpy(), copy=True) for name, tensor in on_host.items()}


def _torch_with_cuda() -> Any:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise CompilerMissingError(f"engine.compiler: TensorRT needs torch with CUDA ({error}); {REMEDY}") from error
    if not torch.cuda.is_available():
        raise CompilerMissingError(f"engine.compiler: torch finds no CUDA device; {REMEDY}")
    return torch


def _describe(error: Any) -> str:
    """One layer that the parser could not take: its operator, its name and why."""
    reason = error.desc().strip()
    if reason in ("", "false"):  # a failed check without a message
        reason = str(error.code()).rsplit(".", 1)[-1].replace("_", " ").lower()
    return f"{error.node_operator() or '?'} {error.node_name() or f'number {error.node()}'}: {reason}"


def _logger(trt: ModuleType) -> Any:
    """TensorRT keeps the first logger of a process, so there is one a package; it remembers errors for messages."""
    if trt.__name__ not in _LOGGERS:

        class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)
                self.messages: list[str] = []

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    self.messages = [*self.messages[-19:], message]

        _LOGGERS[trt.__name__] = Logger()
    return _LOGGERS[trt.__name__]
