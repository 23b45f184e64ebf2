"""The one record of a network: what goes in, what comes out, where its weights and its card are.

Export, preprocessing, engines, tests and `foveal models` read it; nothing repeats it. The digests of the two files
at rest (see `models.weights`) stand in a small JSON record beside them, written by `training.export.export`, so that
a retrained network changes no source line except its version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from models.errors import SpecError, WeightsMissingError

__all__ = ["ChannelOrder", "Dim", "ModelSpec", "Normalize", "TensorSpec", "Weights", "WeightsRecord"]

ChannelOrder = Literal["RGB", "BGR", "GRAY"]
Dim = int | None
"""A size, or None where it is only known at run time."""

_CHANNELS_OF_ORDER = {"RGB": 3, "BGR": 3, "GRAY": 1}
_LETTERS = frozenset("NCHWL")
_DTYPES = frozenset({"float32", "float16", "uint8", "int64", "int32", "bool"})


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a network.

    `layout` has a letter a dimension: N batch, C channels or features, H and W rows and columns, L a list (anchors,
    tokens). `channels` is a colour order or a count. `length` is the size of L, or of C where there is no L and no
    `channels`. A size of None is dynamic; N is always dynamic. `height_multiple` and `width_multiple` say what a
    dynamic height and width must be divisible by. `dtype` is what the caller hands over or gets.
    """

    name: str
    layout: str
    channels: ChannelOrder | int | None = None
    dtype: str = "float32"
    height: Dim = None
    width: Dim = None
    length: Dim = None
    height_multiple: int = 1
    width_multiple: int = 1
    unit_norm: bool = False
    meaning: str = ""

    def __post_init__(self) -> None:
        if not self.layout or set(self.layout) - _LETTERS or len(set(self.layout)) != len(self.layout):
            raise SpecError(f"{self.name}.layout: expected distinct letters of N, C, H, W, L, got {self.layout!r}")
        if self.dtype not in _DTYPES:
            raise SpecError(f"{self.name}.dtype: expected one of {sorted(_DTYPES)}, got {self.dtype!r}")

    @property
    def channel_count(self) -> Dim:
        """How many channels or features there are; None if dynamic."""
        if isinstance(self.channels, str):
            return _CHANNELS_OF_ORDER[self.channels]
        if self.channels is None and "L" not in self.layout:
            return self.length
        return self.channels

    @property
    def dims(self) -> tuple[Dim, ...]:
        """The sizes in the order of the layout, None where dynamic."""
        size = {"N": None, "C": self.channel_count, "H": self.height, "W": self.width, "L": self.length}
        return tuple(size[letter] for letter in self.layout)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels. Raises: SpecError where either is dynamic."""
        if self.width is None or self.height is None:
            raise SpecError(f"{self.name}: width and height are dynamic; take them from the ShapeProfile")
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class Normalize:
    """`(pixel * scale - mean) / std`, a value a channel in the order of the input's channels."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise SpecError(f"normalize: expected as many means as stds, got {len(self.mean)} and {len(self.std)}")
        if any(value <= 0 for value in self.std) or self.scale <= 0:
            raise SpecError(f"normalize: std and scale must be positive, got {self.std} and {self.scale}")


@dataclass(frozen=True, slots=True)
class Weights:
    """One file and what it must hash to."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """`<stem>.json`: the two files of a network at rest, and what was measured when they were written.

    `ranges`: least and largest value of each activation that `models.quantization` rounds; empty where nobody measured.
    """

    topology: Weights
    weights: Weights
    parameters: int
    metrics: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class ModelSpec:
    """A network that this project trained.

    `folder` is where its files lie: `Path(__file__).parent / "weights"` of the network's own spec.py. `normalize` is
    for the one image input; it is None where a network takes its inputs as they are (as SSR does). `card` is the model
    card, relative to the repository root. `by_size`: OpenVINO gets an engine for each size (`models.engine.sized`).
    `site` is for a network that was adapted to one (`models.sites`), such as lobby.1.
    """

    name: str
    version: int
    paper: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    folder: Path
    licence: str
    card: str
    normalize: Normalize | None = None
    opset: int = 20
    by_size: bool = False
    site: str = ""

    def __post_init__(self) -> None:
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        if not self.inputs or not self.outputs or len(set(names)) != len(names):
            raise SpecError(
                f"{self.name}: inputs and outputs need one tensor each at least, with distinct names: {names}"
            )
        if self.normalize is not None:
            channels = self.inputs[0].channel_count
            if len(self.inputs) != 1 or channels != len(self.normalize.mean):
                raise SpecError(f"{self.name}.normalize: needs one input with {len(self.normalize.mean)} channels")

    @property
    def input(self) -> TensorSpec:
        """The only input. Raises: SpecError where there are several."""
        if len(self.inputs) != 1:
            raise SpecError(f"{self.name} has {len(self.inputs)} inputs; use .inputs")
        return self.inputs[0]

    @property
    def stem(self) -> str:
        """`name-version`, or `name-version+site`: the file name of everything that belongs to it."""
        return f"{self.name}-{self.version}" + (f"+{self.site}" if self.site else "")

    @property
    def topology_path(self) -> Path:
        """The ONNX graph without its parameters."""
        return self.folder / f"{self.stem}.onnx"

    @property
    def weights_path(self) -> Path:
        """The parameters, named as in the network's state_dict."""
        return self.folder / f"{self.stem}.safetensors"

    @property
    def record_path(self) -> Path:
        """The digests of both, and the metrics."""
        return self.folder / f"{self.stem}.json"

    def record(self) -> WeightsRecord:
        """What the files must be. Raises: WeightsMissingError, SpecError where the record cannot be read."""
        if not self.record_path.is_file():
            raise WeightsMissingError(
                self.record_path,
                f"train and export {self.name} (its card: {self.card}), or check the repository out whole",
            )
        try:
            raw = json.loads(self.record_path.read_text(encoding="utf-8"))
            return WeightsRecord(
                topology=Weights(self.topology_path, str(raw["topology"]["sha256"])),
                weights=Weights(self.weights_path, str(raw["weights"]["sha256"])),
                parameters=int(raw["parameters"]),
                metrics=MappingProxyType(dict(raw.get("metrics", {}))),
                ranges=MappingProxyType({name: (float(a), float(b)) for name, (a, b) in raw.get("ranges", {}).items()}),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SpecError(
                f"{self.record_path}: not a record of weights ({error!r}); export {self.name} again"
            ) from error
