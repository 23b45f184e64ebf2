"""Which sizes an engine must take: from, best for, up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import InputShapeError, SpecError
from models.spec import ModelSpec, TensorSpec

__all__ = ["ShapeProfile", "SizeRange"]

SizeRange = tuple[int, int, int]
"""Smallest, usual, largest; equal where the size is fixed."""

_WIDEST: dict[str, SizeRange] = {"H": (64, 384, 1920), "W": (64, 640, 1920), "L": (1, 64, 1024)}
_OPEN_OPTIMUM = {"N": 1, "H": 256, "W": 256, "L": 64, "C": 1}


@dataclass(frozen=True)
class ShapeProfile:
    """For every input the range of each dimension in layout order; None where any size goes.

    TensorRT wants every range; OpenVINO takes open ones, but is faster on fixed ones.
    """

    ranges: Mapping[str, tuple[SizeRange | None, ...]]

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        *,
        batch: int | SizeRange | None = None,
        height: int | SizeRange | None = None,
        width: int | SizeRange | None = None,
        length: int | SizeRange | None = None,
        **own: Mapping[str, int | SizeRange],
    ) -> ShapeProfile:
        """Sizes for what the spec leaves open, the same for every input; `own` names an input with sizes of its own.

        `ShapeProfile.of(spec, batch=(1, 4, 16), height=544, width=960, history={"H": 272, "W": 480})`.
        Raises: SpecError if a range is not 1 <= smallest <= usual <= largest, or misses the multiple of the spec.
        """
        common = {"N": batch, "H": height, "W": width, "L": length}
        unknown = own.keys() - {tensor.name for tensor in spec.inputs}
        if unknown:
            raise SpecError(f"{spec.name} has no input {sorted(unknown)}")
        return cls({t.name: _ranges(t, {**common, **own.get(t.name, {})}) for t in spec.inputs})

    @classmethod
    def usual_of(
        cls, spec: ModelSpec, *, batch: int = 32, height: int | None = None, width: int | None = None
    ) -> ShapeProfile:
        """Ranges for everything that the spec leaves open, as TensorRT wants them: batches up to `batch`, sides from
        64 to 1,920 pixels unless one size is given, each rounded to the multiple of the spec."""
        sides = {"H": height, "W": width}
        own: dict[str, dict[str, int | SizeRange]] = {}
        for tensor in spec.inputs:
            sizes: dict[str, int | SizeRange] = {"N": (1, min(8, batch), batch), "L": _WIDEST["L"]}
            for letter, side in sides.items():
                multiple = _multiple(tensor, letter)
                low, usual, high = (-(-size // multiple) * multiple for size in _WIDEST[letter])
                sizes[letter] = (low, usual, high) if side is None else side
            own[tensor.name] = sizes
        return cls({t.name: _ranges(t, own[t.name]) for t in spec.inputs})

    def usual(self, tensor: TensorSpec) -> tuple[int, ...]:
        """The shape to warm and tune for."""
        found = self.ranges[tensor.name]
        return tuple(
            size[1] if size else _rounded(tensor, letter) for letter, size in zip(tensor.layout, found, strict=True)
        )

    def check(self, tensor: TensorSpec, shape: tuple[int, ...]) -> None:
        """Raises: InputShapeError naming the dimension; the batch may be any size from 1, the engine splits it."""
        found = self.ranges[tensor.name]
        if len(shape) != len(found):
            raise InputShapeError(f"{tensor.name}: expected {tensor.layout}, got an array of shape {shape}")
        for letter, size, came in zip(tensor.layout, found, shape, strict=True):
            low, high = (1, None) if size is None else (size[0], size[2])
            if letter == "N":
                low, high = 1, None
            multiple = _multiple(tensor, letter)
            if came < low or (high is not None and came > high) or came % multiple:
                wanted = f"{low}" if low == high else f"{low} to {high if high is not None else 'any'}"
                suffix = f" in steps of {multiple}" if multiple > 1 else ""
                raise InputShapeError(f"{tensor.name}.{letter}: expected {wanted}{suffix}, got {came} (shape {shape})")

    def batch(self) -> SizeRange | None:
        """The range of the batch, from the first input; None if open."""
        return next(iter(self.ranges.values()))[0]

    def in_layout(self, before: TensorSpec, after: TensorSpec) -> ShapeProfile:
        """The same for a network whose only input is laid out anew."""
        ranges = self.ranges[before.name]
        return ShapeProfile({after.name: tuple(ranges[before.layout.index(letter)] for letter in after.layout)})

    def as_key(self) -> dict[str, Any]:
        """Plain JSON, for the registry of engines."""
        return {name: [list(size) if size else None for size in sizes] for name, sizes in sorted(self.ranges.items())}


def _ranges(tensor: TensorSpec, given: Mapping[str, int | SizeRange | None]) -> tuple[SizeRange | None, ...]:
    if tensor.layout[0] != "N" and "N" in tensor.layout:
        raise SpecError(f"{tensor.name}.layout: the batch comes first, got {tensor.layout}")
    found: list[SizeRange | None] = []
    for letter, fixed in zip(tensor.layout, tensor.dims, strict=True):
        asked = given.get(letter)
        size = (asked, asked, asked) if isinstance(asked, int) else asked
        if fixed is not None:
            size = (fixed, fixed, fixed)
        elif size is not None:
            multiple = _multiple(tensor, letter)
            if not 1 <= size[0] <= size[1] <= size[2] or any(value % multiple for value in size):
                raise SpecError(
                    f"{tensor.name}.{letter}: expected rising sizes from 1 in steps of {multiple}, got {size}"
                )
        found.append(size)
    return tuple(found)


def _multiple(tensor: TensorSpec, letter: str) -> int:
    return {"H": tensor.height_multiple, "W": tensor.width_multiple}.get(letter, 1)


def _rounded(tensor: TensorSpec, letter: str) -> int:
    multiple = _multiple(tensor, letter)
    return -(-_OPEN_OPTIMUM[letter] // multiple) * multiple
