"""What `foveal models` says of a network: plain JSON, and an error in words instead of an exception."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from models.engine import EngineConfig, ShapeProfile, load_engine
from models.engine.load import choose_compiler
from models.engine.preprocess import fold_pixels, pixel_input
from models.engine.registry import EngineKey, EngineRegistry
from models.errors import DigestError, ModelError, UnsupportedLayersError, WeightsMissingError
from models.spec import ModelSpec, TensorSpec
from models.weights import assemble_onnx, read_checked, sha256_of

if TYPE_CHECKING:
    from models.engine.tensorrt import TensorRtBuilder

__all__ = ["build_for", "build_here", "describe", "verify"]


def describe(spec: ModelSpec) -> dict[str, Any]:
    """One row of `foveal models list`; `state` is whole, missing, damaged, or what is wrong with the record."""
    row: dict[str, Any] = {
        "name": spec.name,
        "version": spec.version,
        "state": "whole",
        "parameters": None,
        "bytes": None,
        "licence": spec.licence,
        "paper": spec.paper,
        "card": spec.card,
        "inputs": {
            tensor.name: f"{tensor.layout} {list(tensor.dims)} {tensor.channels or ''}" for tensor in spec.inputs
        },
        "outputs": {tensor.name: f"{tensor.layout} {list(tensor.dims)}" for tensor in spec.outputs},
        "metrics": {},
    }
    try:
        record = spec.record()
        row["parameters"], row["metrics"] = record.parameters, dict(record.metrics)
        row["bytes"] = sum(len(read_checked(file)) for file in (record.topology, record.weights))
    except WeightsMissingError:
        row["state"] = "missing"
    except DigestError:
        row["state"] = "damaged"
    except ModelError as error:
        row["state"] = str(error)
    return row


def verify(spec: ModelSpec) -> dict[str, Any]:
    """Digests, assembly, and one run on noise: every output finite, of the spec's dtype and shape, of norm 1 if so."""
    report: dict[str, Any] = {"name": spec.name, "ok": False, "run_ms": None, "error": None}
    try:
        with load_engine(spec, EngineConfig(compiler="openvino", precision="f32")) as engine:
            random = np.random.default_rng(0)
            inputs = {t.name: random.random((2, *engine.profile.usual(t)[1:])).astype(t.dtype) for t in engine.inputs}
            engine.run(inputs)
            began = time.perf_counter()
            outputs = engine.run(inputs)
            report["run_ms"] = round(1000 * (time.perf_counter() - began), 2)
        report["error"] = _complaint(spec, outputs)
        report["ok"] = report["error"] is None
    except ModelError as error:
        report["error"] = str(error)
    return report


def build_here(spec: ModelSpec, profile: ShapeProfile | None, config: EngineConfig) -> dict[str, Any]:
    """Build (or find) the engines of this machine, plain and with the preprocessing folded in; load them."""
    report = _report(spec)
    began = time.perf_counter()
    try:
        compiler = choose_compiler(config)
        report["compiler"], report["device"] = f"{compiler.name} {compiler.version}", compiler.device
        for from_uint8 in (False, True) if spec.normalize is not None else (False,):
            with load_engine(spec, config, profile, from_uint8=from_uint8) as engine:
                engine.warm()
        report["ok"] = True
        if config.cache_dir is not None:
            entries = EngineRegistry(config.cache_dir).entries()
            report["bytes"] = sum(entry.bytes for entry in entries if entry.fields["model"] == spec.stem)
    except UnsupportedLayersError as error:
        report["error"], report["layers"] = str(error), list(error.layers)
    except ModelError as error:
        report["error"] = str(error)
    report["seconds"] = round(time.perf_counter() - began, 2)
    return report


def build_for(
    spec: ModelSpec, capabilities: tuple[str, ...], profile: ShapeProfile, config: EngineConfig
) -> dict[str, Any]:
    """Build TensorRT engines for GPUs that need not be here, plain and with the preprocessing folded in; keep them.

    Raises: CompilerMissingError without `tensorrt_rtx`.
    """
    from models.engine.tensorrt import TensorRtBuilder

    report = _report(spec)
    builder = TensorRtBuilder(capabilities, packages=("tensorrt_rtx",))
    report["compiler"], report["device"] = builder.version, "sm " + " ".join(capabilities)
    began = time.perf_counter()
    try:
        plain = assemble_onnx(spec)
        report["bytes"] = _build_and_keep(builder, spec, plain, spec.inputs, profile, config)
        if spec.normalize is not None:
            pixels = pixel_input(spec)
            folded, turned = fold_pixels(plain, spec), profile.in_layout(spec.input, pixels)
            report["bytes"] += _build_and_keep(builder, spec, folded, (pixels,), turned, config)
        report["ok"] = True
    except UnsupportedLayersError as error:
        report["error"], report["layers"] = str(error), list(error.layers)
    except ModelError as error:
        report["error"] = str(error)
    report["seconds"] = round(time.perf_counter() - began, 2)
    return report


def _build_and_keep(
    builder: TensorRtBuilder,
    spec: ModelSpec,
    onnx_bytes: bytes,
    inputs: tuple[TensorSpec, ...],
    profile: ShapeProfile,
    config: EngineConfig,
) -> int:
    """One engine serves all the capabilities: it is kept once for each, under the key that a replica there asks for."""
    from models.engine.tensorrt import device_of

    blob = builder.build(onnx_bytes, spec.stem, inputs, profile)
    if config.cache_dir is not None:
        registry = EngineRegistry(config.cache_dir, config.cache_max_bytes)
        digest = sha256_of((onnx_bytes,))
        for capability in builder.capabilities:
            device = device_of(capability)
            key = EngineKey(spec.stem, digest, "tensorrt", builder.version, device, "f32", profile.as_key())
            registry.get_or_build(key, lambda: blob, fresh=True)
    return len(blob)


def _report(spec: ModelSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "ok": False,
        "compiler": None,
        "device": None,
        "bytes": None,
        "seconds": None,
        "layers": [],
        "error": None,
    }


def _complaint(spec: ModelSpec, outputs: dict[str, Any]) -> str | None:
    """What is wrong with the outputs of a batch of two; None if nothing."""
    for tensor in spec.outputs:
        array = outputs[tensor.name]
        fits = len(array.shape) == len(tensor.dims) and all(
            size in (None, came) for size, came in zip(tensor.dims, array.shape, strict=True)
        )
        if not fits or array.dtype != np.dtype(tensor.dtype):
            return f"{tensor.name}: expected {tensor.dtype} {tensor.dims}, got {array.dtype} {array.shape}"
        if not np.isfinite(array).all():
            return f"{tensor.name}: not every number is finite"
        if tensor.unit_norm and not np.allclose(np.linalg.norm(array, axis=-1), 1, atol=1e-3):
            return f"{tensor.name}: not of norm 1"
    return None
