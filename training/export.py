"""From a trained torch network to what ships: a topology, a safetensors file and their record.

The exporter that traces (`dynamo=False`) is used on purpose: it keeps the state_dict names of initializers and batch
norm as a node, writes the smaller graph and takes 0.2 s where the other takes 10 (docs/adr/0002).
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
import openvino as ov
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import save as save_safetensors
from torch import Tensor, nn

from models.errors import SpecError, TopologyError
from models.spec import ModelSpec, TensorSpec, WeightsRecord
from models.weights import assemble_onnx, load_state, round_to_8_bits, sha256_of, strip

__all__ = ["export", "load_network", "to_onnx"]

FP16_MAX = 65504.0
KEPT_FLOAT32 = (".running_mean", ".running_var")
LARGEST_CODE = 80
"""Of at most 127: the history packs fewer codes into a tenth fewer bytes, and 0.1 point is lost at most."""
LEAST_8_BIT = 4096
"""Smaller tensors weigh nothing in the file, and more in the network."""
AGREEMENT = 2e-3
"""Largest difference between torch and the assembled model on the same rounded weights, relative to the output's
largest value. Float32 in another order of summation stays far below it."""


def export(
    network: nn.Module,
    spec: ModelSpec,
    example_inputs: Sequence[Tensor],
    *,
    metrics: Mapping[str, Any] | None = None,
    keep_float32: Sequence[str] = (),
    bits: Literal[8, 16] = 16,
) -> WeightsRecord:
    """Write `<name>-<version>.onnx`, `.safetensors` and `.json` into `spec.folder`, read them back and compare.

    `example_inputs` are float32 tensors in the order of `spec.inputs`, batch 2 or more. Sizes that the spec leaves
    open are exported as dynamic. `forward` takes the inputs in that order and returns the outputs in the order of
    `spec.outputs` (a tensor or a tuple). Parameters whose name ends in one of `keep_float32` are not rounded; with 8
    `bits` matrices and kernels are int8 at rest, which costs accuracy that the card has to name.
    `metrics` (plain JSON) go into the record: say what was measured and by which command.
    Raises: SpecError, TopologyError (a weight does not fit float16, or the assembled model disagrees with torch).
    """
    network = network.eval().cpu().float()
    topology, state = strip(to_onnx(network, spec, example_inputs))
    stored: dict[str, NDArray[Any]] = {}
    for name, values in state.items():
        stored |= _at_rest(name, values, (*KEPT_FLOAT32, *keep_float32), bits)
    spec.folder.mkdir(parents=True, exist_ok=True)
    topology_bytes = topology.SerializeToString(deterministic=True)
    weights_bytes = save_safetensors(stored)
    record = {
        "topology": {"sha256": sha256_of((topology_bytes,)), "bytes": len(topology_bytes)},
        "weights": {"sha256": sha256_of((weights_bytes,)), "bytes": len(weights_bytes)},
        "parameters": int(sum(parameter.numel() for parameter in network.parameters())),
        "metrics": dict(metrics or {}),
    }
    spec.topology_path.write_bytes(topology_bytes)
    spec.weights_path.write_bytes(weights_bytes)
    spec.record_path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    record["rounding"] = _compare(network, spec, example_inputs)
    spec.record_path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return spec.record()


def load_network(network: nn.Module, spec: ModelSpec, *, without: Sequence[str] = ()) -> nn.Module:
    """Put the shipped weights into a network of the same shape, for fine-tuning or evaluation; float32, returned.

    Names that start with one of `without` (a head used only in training) may be absent from the weights.
    Raises: WeightsMissingError, DigestError, TopologyError if names differ; RuntimeError of torch if shapes do.
    """
    state = {name: torch.from_numpy(values.astype(np.float32)) for name, values in load_state(spec).items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    missing = [
        name for name in missing if not name.endswith("num_batches_tracked") and not name.startswith(tuple(without))
    ]
    if missing or unexpected:
        raise TopologyError(
            f"{spec.weights_path}: the network lacks {unexpected or 'nothing'}, "
            f"the weights lack {missing or 'nothing'}; "
            "use the network of the same version, or name training heads in `without`"
        )
    return network


def to_onnx(network: nn.Module, spec: ModelSpec, example_inputs: Sequence[Tensor]) -> onnx.ModelProto:
    """Trace a network in eval mode; initializers carry its state_dict names, everything else is a constant node."""
    if len(example_inputs) != len(spec.inputs):
        raise SpecError(f"{spec.name}: the spec has {len(spec.inputs)} inputs, got {len(example_inputs)} examples")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # says that this exporter is the old one
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # shapes made Python ints; the comparison would show
        warnings.filterwarnings(
            "ignore", "Constant folding - Only steps=1", UserWarning
        )  # of strided slices; not asked for
        torch.onnx.export(
            network,
            tuple(example_inputs),
            buffer,
            dynamo=False,
            do_constant_folding=False,
            opset_version=spec.opset,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_axes={tensor.name: _dynamic_axes(tensor) for tensor in (*spec.inputs, *spec.outputs)},
        )
    model = onnx.load_from_string(buffer.getvalue())
    _restore_shared(model, network)
    _clear_paths(model)
    names = set(network.state_dict())
    foreign = [tensor.name for tensor in model.graph.initializer if tensor.name not in names]
    if foreign:
        raise TopologyError(f"{spec.name}: the exporter renamed parameters to {foreign}; their names must stay")
    onnx.checker.check_model(model)
    return model


def _dynamic_axes(tensor: TensorSpec) -> dict[int, str]:
    """Names of the open sizes; the batch has one name everywhere."""
    return {
        axis: "batch" if letter == "N" else f"{tensor.name}_{letter}"
        for axis, (letter, size) in enumerate(zip(tensor.layout, tensor.dims, strict=True))
        if size is None
    }


def _restore_shared(model: onnx.ModelProto, network: nn.Module) -> None:
    """The exporter merges equal tensors (two zero biases) behind Identity nodes: give each its own name again."""
    state = network.state_dict()
    for node in [node for node in model.graph.node if node.op_type == "Identity" and node.output[0] in state]:
        name = node.output[0]
        model.graph.node.remove(node)
        model.graph.initializer.append(numpy_helper.from_array(state[name].numpy(), name))


def _clear_paths(model: onnx.ModelProto) -> None:
    """Leave out what differs by machine: source paths and notes of the exporter."""
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def _at_rest(
    name: str, values: NDArray[Any], keep_float32: tuple[str, ...], bits: Literal[8, 16]
) -> dict[str, NDArray[Any]]:
    """Float16 or, of large tensors, 8 bits, unless the range or the caller forbids it."""
    if values.dtype != np.float32 or name.endswith(keep_float32):
        return {name: values}
    largest = float(np.abs(values).max(initial=0.0))
    if not largest < FP16_MAX:  # also catches NaN
        raise TopologyError(f"{name}: largest magnitude {largest:g} does not fit float16; name it in keep_float32")
    if bits == 8 and values.ndim > 1 and values.size >= LEAST_8_BIT:
        return round_to_8_bits(name, values, LARGEST_CODE)
    return {name: values.astype(np.float16)}


def _compare(network: nn.Module, spec: ModelSpec, example_inputs: Sequence[Tensor]) -> dict[str, float]:
    """Check the written files; how much rounding changes each output, relative to its largest value."""
    core = ov.Core()
    compiled = core.compile_model(core.read_model(assemble_onnx(spec)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    served = compiled({tensor.name: x.numpy() for tensor, x in zip(spec.inputs, example_inputs, strict=True)})
    whole = _outputs(network, example_inputs)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    network.load_state_dict(
        {k: torch.from_numpy(v.astype(np.float32)) for k, v in load_state(spec).items()}, strict=False
    )
    rounded = _outputs(network, example_inputs)
    network.load_state_dict(before)
    changes: dict[str, float] = {}
    for index, tensor in enumerate(spec.outputs):
        span = float(np.abs(rounded[index]).max(initial=1e-6))
        difference = float(np.abs(served[index] - rounded[index]).max(initial=0.0)) / span
        if not difference < AGREEMENT:
            raise TopologyError(
                f"{spec.name}.{tensor.name}: the assembled model differs from torch by {difference:.2e} of its range "
                f"(allowed {AGREEMENT:.0e}); a shape or a branch was frozen while tracing"
            )
        changes[tensor.name] = round(float(np.abs(whole[index] - rounded[index]).max(initial=0.0)) / span, 6)
    return changes


def _outputs(network: nn.Module, inputs: Sequence[Tensor]) -> list[NDArray[Any]]:
    with torch.inference_mode():
        came = network(*inputs)
    return [tensor.numpy() for tensor in (came if isinstance(came, (tuple, list)) else (came,))]
