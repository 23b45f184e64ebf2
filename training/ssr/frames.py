"""Rendered sequences as folders of OpenEXR files, one a frame; `foveal render` writes them, others may as well.

A file has a layer a plane, with the channel names of `streams.exr` (`radiance.R`, `normal.X`, `depth.Z`, ...), and
maybe the layers of EXTRAS. A number at the end of a file's name counts frames: where one is left out, a stream begins
afresh. Read too: the compact folders of `models.ssr.sequence_file`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.ssr.preprocess import PLANE_CHANNELS
from models.ssr.sequence_file import load_sequence
from streams.errors import WireError
from streams.exr import decode_exr, encode_exr

__all__ = [
    "EXTRAS",
    "Frame",
    "FrameFileError",
    "count_frames",
    "read_frame",
    "read_frames",
    "read_references",
    "write_frame",
]

EXTRAS = {"reference": 3, "reference_again": 3, "radiance_1spp": 3}
"""Linear radiance for comparison: many samples, denoised; independently once more; one sample at every pixel."""
LAYOUT = {name: 0 if count == 1 else count for name, count in PLANE_CHANNELS.items()}
FLOAT32 = frozenset({"depth", "motion"})
LARGEST_HALF = 65504
MAGIC = b"\x76\x2f\x31\x01"
WINDOW = b"dataWindow\0box2i\0\x10\0\0\0"
HEADER_BYTES = 65536

Planes = dict[str, NDArray[Any]]


class FrameFileError(ModelError, ValueError):
    """A folder or a file in it is not a frame of planes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its file's stem, the number in it (None without one), planes by name, the layers of EXTRAS it has."""

    name: str
    number: int | None
    planes: Planes
    extras: Planes

    def follows(self, other: Frame | None) -> bool:
        """Whether it is the one right after `other`, so that history holds."""
        if other is None:
            return False
        return self.number is None or other.number is None or self.number == other.number + 1


def count_frames(folder: Path) -> int:
    """How many frames a folder has. Raises: FrameFileError if none."""
    return sum(1 for _frame in read_references(folder)) if _is_compact(folder) else len(_files(folder))


def read_frames(folder: Path) -> Iterator[Frame]:
    """The frames in order of their names; floats as stored. Raises: FrameFileError, SequenceFileError."""
    if _is_compact(folder):
        for index, (planes, reference) in enumerate(load_sequence(folder)):
            extras = {} if reference is None else {"reference": reference}
            yield Frame(f"{index:04d}", index, planes, extras)
        return
    yield from (read_frame(file) for file in _files(folder))


def read_frame(file: Path) -> Frame:
    """One OpenEXR file. Raises: FrameFileError."""
    layers = _read(file, {**LAYOUT, **EXTRAS})
    extras = {name: layers.pop(name).astype(np.float32) for name in EXTRAS if name in layers}
    if "radiance" not in layers:
        raise FrameFileError(f"{file}: has no layer 'radiance' (channels radiance.R, radiance.G, radiance.B)")
    number = re.search(r"(\d+)$", file.stem)
    return Frame(file.stem, int(number[1]) if number else None, layers, extras)


def read_references(folder: Path) -> Iterator[NDArray[np.float32] | None]:
    """The reference of each frame, None where there is none."""
    if _is_compact(folder):
        yield from (reference for _planes, reference in load_sequence(folder))
        return
    for file in _files(folder):
        found = _read(file, {"reference": 3}).get("reference")
        yield None if found is None else found.astype(np.float32)


def write_frame(file: Path, layers: Mapping[str, NDArray[Any]]) -> None:
    """Write planes and extras: depth and motion as float, all else as half. Whole, or not at all."""
    kept = {}
    for name, values in layers.items():
        kind = np.float32 if name in FLOAT32 else np.float16
        kept[name] = np.clip(values, -LARGEST_HALF, LARGEST_HALF).astype(kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    partial.write_bytes(encode_exr(kept))
    partial.replace(file)


def _is_compact(folder: Path) -> bool:
    return (folder / "planes.zst").is_file()


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FrameFileError(f"{folder}: no such folder")
    files = sorted(folder.glob("*.exr"))
    if not files:
        raise FrameFileError(f"{folder}: no *.exr in it; `foveal render SCENE.xml --out {folder}` writes some")
    return files


def _read(file: Path, layout: Mapping[str, int]) -> Planes:
    payload = file.read_bytes()
    at = payload.find(WINDOW, 0, HEADER_BYTES) + len(WINDOW)
    if not payload.startswith(MAGIC) or at < len(WINDOW) or at + 16 > len(payload):
        raise FrameFileError(f"{file}: not an OpenEXR file")
    left, top, right, bottom = struct.unpack_from("<4i", payload, at)
    try:
        return decode_exr(payload, right - left + 1, bottom - top + 1, layout)
    except WireError as error:
        raise FrameFileError(f"{file}: {error}") from error
