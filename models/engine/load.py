"""From a spec to an engine ready to run: assemble, find or build, load."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
from typing import Protocol

from models.engine.base import Engine, EngineInfo
from models.engine.config import CompilerName, EngineConfig, Precision
from models.engine.registry import EngineKey, EngineRegistry
from models.engine.shapes import ShapeProfile
from models.engine.sized import SizedEngine
from models.errors import CompilerMissingError, EngineError
from models.spec import ModelSpec, TensorSpec

__all__ = ["Compiler", "choose_compiler", "load_engine", "load_onnx"]

_LOG = logging.getLogger("foveal.models.engine")


class Compiler(Protocol):
    """What a compiler offers; see `models.engine.openvino` and `models.engine.tensorrt`.

    `precision` is what it computes in, `eight_bits` whether it rather takes a quantized graph where there is one.
    """

    name: CompilerName
    version: str
    precision: Precision
    eight_bits: bool

    @property
    def device(self) -> str: ...

    def build(self, onnx_bytes: bytes, model: str, inputs: tuple[TensorSpec, ...], profile: ShapeProfile) -> bytes: ...

    def load(
        self,
        blob: bytes,
        info: EngineInfo,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        profile: ShapeProfile,
    ) -> Engine: ...


def load_engine(
    spec: ModelSpec,
    config: EngineConfig | None = None,
    shapes: ShapeProfile | None = None,
    *,
    from_uint8: bool = False,
) -> Engine:
    """An engine for one of our networks, built unless `config.cache_dir` has it; not yet warm.

    Without `shapes` OpenVINO takes any size (with `spec.by_size` an engine for each) and TensorRT
    `ShapeProfile.usual_of(spec)`. With `from_uint8` the
    preprocessing of the spec is folded in: the input is uint8 NHWC BGR 0-255.
    Raises: WeightsMissingError, DigestError, SpecError, CompilerMissingError, BuildError, RegistryError, EngineError.
    """
    from models.engine.preprocess import fold_pixels, pixel_input  # onnx takes 0.1 s, and commands import this module
    from models.quantization import quantize
    from models.weights import assemble_onnx

    config = config or EngineConfig()
    onnx_bytes = assemble_onnx(spec)
    compiler = choose_compiler(config)
    precision = compiler.precision
    if compiler.eight_bits and (ranges := spec.record().ranges):
        onnx_bytes, precision = quantize(onnx_bytes, ranges), "int8"
    profile = shapes or (ShapeProfile.usual_of(spec) if compiler.name == "tensorrt" else ShapeProfile.of(spec))
    inputs = spec.inputs
    if from_uint8:
        onnx_bytes, inputs = fold_pixels(onnx_bytes, spec), (pixel_input(spec),)
        profile = profile.in_layout(spec.input, inputs[0])
    info = _info_of(compiler, spec.stem, onnx_bytes, precision)
    load = functools.partial(_find_or_build, compiler, config, onnx_bytes, info, inputs, spec.outputs)
    if spec.by_size and shapes is None and compiler.name == "openvino":
        return SizedEngine(info, inputs, spec.outputs, profile, load)
    return load(profile)


def load_onnx(
    onnx_bytes: bytes,
    model: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    profile: ShapeProfile,
    config: EngineConfig | None = None,
) -> Engine:
    """The same for any ONNX model, such as a public one. Raises: as `load_engine`."""
    config = config or EngineConfig()
    compiler = choose_compiler(config)
    info = _info_of(compiler, model, onnx_bytes, compiler.precision)
    return _find_or_build(compiler, config, onnx_bytes, info, inputs, outputs, profile)


def choose_compiler(config: EngineConfig) -> Compiler:
    """The compiler that the configuration means here. Raises: CompilerMissingError, EngineError."""
    if config.compiler == "openvino":
        return _openvino(config)
    if config.compiler == "tensorrt":
        return _tensorrt(config)
    if any(importlib.util.find_spec(name) for name in ("tensorrt", "tensorrt_rtx")):
        try:
            return _tensorrt(config)
        except CompilerMissingError as error:
            _LOG.info("TensorRT is installed but cannot be used here (%s): taking OpenVINO", error)
    return _openvino(config)


def _find_or_build(
    compiler: Compiler,
    config: EngineConfig,
    onnx_bytes: bytes,
    info: EngineInfo,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    profile: ShapeProfile,
) -> Engine:
    """Load it from the registry, where it is built first if needed; without a `cache_dir` build it anew."""
    build = functools.partial(compiler.build, onnx_bytes, info.model, inputs, profile)
    if config.cache_dir is None:
        return compiler.load(build(), info, inputs, outputs, profile)
    built_with = (info.compiler, info.compiler_version, info.device, info.precision)
    key = EngineKey(info.model, info.onnx_sha256, *built_with, profile.as_key())
    registry = EngineRegistry(config.cache_dir, config.cache_max_bytes)
    blob = registry.get_or_build(key, build)
    try:
        return compiler.load(blob, info, inputs, outputs, profile)
    except EngineError as error:
        _LOG.warning("the compiler refuses the engine kept for %s (%s): building it again", info.model, error)
        return compiler.load(registry.get_or_build(key, build, fresh=True), info, inputs, outputs, profile)


def _info_of(compiler: Compiler, model: str, onnx_bytes: bytes, precision: Precision) -> EngineInfo:
    digest = hashlib.sha256(onnx_bytes).hexdigest()
    return EngineInfo(model, digest, compiler.name, compiler.version, compiler.device, precision)


def _openvino(config: EngineConfig) -> Compiler:
    from models.engine.openvino import OpenVinoCompiler  # takes 0.3 s to import

    return OpenVinoCompiler(config)


def _tensorrt(config: EngineConfig) -> Compiler:
    from models.engine.tensorrt import TensorRtCompiler  # needs torch with CUDA

    return TensorRtCompiler(config)
