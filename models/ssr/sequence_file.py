"""A rendered sequence on disk in little space: quantised planes under Zstandard, albedo and references as video.

For shipping a demonstration, not for exchange (that is OpenEXR, `streams.exr`). A folder holds `sequence.json`,
`planes.zst`, `albedo.mp4` and, where there are references, `reference.mp4`. What quantisation costs: normal, shadow,
transparent, metallic, roughness 1/255; albedo about as much; depth 14 bits of its logarithm; motion 1/32 pixel;
radiance and reference 5.6 % and 0.7 % steps of a logarithmic curve up to 20 times white, far below the noise.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import zstandard
from numpy.typing import NDArray

from models.errors import ModelError

__all__ = ["SequenceFileError", "load_sequence", "write_sequence"]

BRIGHTEST = 20.0
CURVE = 50.0
MOTION_STEPS = 32
DEPTH_STEPS = 16_382
RADIANCE_STEPS = 127
VIDEO_STEPS = 1023
VERSION = 1
LEVEL = 19
LARGEST_BYTES = 1 << 30
UNIT_PLANES = {"transparent": 3, "metallic": 1, "roughness": 1}
PLACES = ((0, 0), (1, 1), (1, 0), (0, 1))
"""(x, y) of the traced pixel in its tile, by frame modulo 4."""

Planes = dict[str, NDArray[Any]]


class SequenceFileError(ModelError, ValueError):
    """A folder is not a sequence that this version can read."""


def write_sequence(
    folder: Path, frames: Sequence[Mapping[str, NDArray[Any]]], references: Sequence[NDArray[Any]], meta: dict[str, Any]
) -> None:
    """Write planes as in docs/architecture.md, traced in the pattern PLACES, and linear references [H, W, 3]."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = frames[0]["radiance"].shape[:2]
    depth = np.stack([frame["depth"] for frame in frames]).astype(np.float32)
    near, far = float(depth[depth > 0].min()), float(depth.max())
    record = {**meta, "version": VERSION, "size_wh": [width, height], "frames": len(frames), "depth": [near, far]}
    packer = zstandard.ZstdCompressor(level=LEVEL)
    parts = [_pack_frame(frame, index, near, far) for index, frame in enumerate(frames)]
    streams = {name: b"".join(part[name].tobytes() for part in parts) for name in parts[0]}
    record["streams"] = {name: len(content) for name, content in streams.items()}
    (folder / "planes.zst").write_bytes(packer.compress(b"".join(streams.values())))
    albedo = [np.round(np.clip(frame["albedo"].astype(np.float32), 0, 1) * VIDEO_STEPS) for frame in frames]
    (folder / "albedo.mp4").write_bytes(_encode_video([picture.astype(np.uint16) for picture in albedo], crf=10))
    if references:
        shown = [_to_curve(picture, VIDEO_STEPS) for picture in references]
        (folder / "reference.mp4").write_bytes(_encode_video(shown, crf=14))
    (folder / "sequence.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def load_sequence(folder: Path) -> Iterator[tuple[Planes, NDArray[np.float32] | None]]:
    """Planes, and the linear reference float32 [H, W, 3] where there is one, frame by frame; floats are float32.

    Raises: SequenceFileError, with the file.
    """
    try:
        record = json.loads((folder / "sequence.json").read_text(encoding="utf-8"))
        if record["version"] != VERSION:
            raise SequenceFileError(f"{folder}: expected version {VERSION}, got {record['version']}; render it again")
        packed = (folder / "planes.zst").read_bytes()
        content = zstandard.ZstdDecompressor().decompress(packed, max_output_size=LARGEST_BYTES)
        sizes = {str(name): int(size) for name, size in record["streams"].items()}
    except (OSError, KeyError, TypeError, json.JSONDecodeError, zstandard.ZstdError) as error:
        raise SequenceFileError(f"{folder}: not a sequence ({error}); restore it with git") from error
    if sum(sizes.values()) != len(content):
        raise SequenceFileError(f"{folder}/planes.zst: expected {sum(sizes.values())} bytes, got {len(content)}")
    count = int(record["frames"])
    streams, at = {}, 0
    for name, size in sizes.items():
        streams[name] = content[at : at + size]
        at += size
    albedos = _decode_video(folder / "albedo.mp4")
    video = folder / "reference.mp4"
    references = _decode_video(video) if video.is_file() else iter(())
    for index in range(count):
        part = {name: _cut(stream, index, count) for name, stream in streams.items()}
        planes = _unpack_frame(part, index, record)
        albedo, picture = next(albedos, None), next(references, None)
        if albedo is None:
            raise SequenceFileError(f"{folder}/albedo.mp4: expected {count} frames, got {index}; restore it with git")
        planes["albedo"] = albedo.astype(np.float32) / VIDEO_STEPS
        yield planes, None if picture is None else _from_curve(picture, VIDEO_STEPS)


def _pack_frame(frame: Mapping[str, NDArray[Any]], index: int, near: float, far: float) -> Planes:
    x, y = PLACES[index % 4]
    traced = np.s_[y::2, x::2]
    if frame["mask"].sum() != frame["mask"][traced].sum() or not frame["mask"][traced].all():
        raise SequenceFileError(f"frame {index}: the mask is not the pattern that this file stores")
    depth = frame["depth"].astype(np.float64)
    steps = np.log(np.maximum(depth, near) / near) / max(np.log(far / near), 1e-9) * (DEPTH_STEPS - 1) + 1
    motion = np.clip(np.round(frame["motion"].astype(np.float64) * MOTION_STEPS), -32_000, 32_000).astype(np.int16)
    packed = {
        "radiance": _to_curve(frame["radiance"][traced], RADIANCE_STEPS).astype(np.uint8),
        "shadow": np.round(np.clip(frame["shadow"][traced], 0, 1) * 255).astype(np.uint8),
        "normal": _rows_apart(np.round(frame["normal"].astype(np.float32) * 127 + 128).astype(np.uint8)),
        "depth": _rows_apart(np.where(depth > 0, np.round(steps), 0).astype(np.uint16)[..., None]),
        "motion": _rows_apart(motion.view(np.uint16)),
    }
    for name in UNIT_PLANES:
        values = np.round(np.clip(frame[name].astype(np.float32), 0, 1) * 255).astype(np.uint8)
        packed[name] = _rows_apart(values.reshape(*values.shape[:2], -1))
    return packed


def _unpack_frame(part: Mapping[str, bytes], index: int, record: Mapping[str, Any]) -> Planes:
    width, height = record["size_wh"]
    near, far = record["depth"]
    x, y = PLACES[index % 4]
    traced = np.s_[y::2, x::2]
    planes: Planes = {
        "radiance": np.zeros((height, width, 3), np.float32),
        "shadow": np.zeros((height, width, 3), np.float32),
        "mask": np.zeros((height, width), np.uint8),
    }
    planes["mask"][traced] = 1
    small = planes["mask"][traced].shape
    planes["radiance"][traced] = _from_curve(
        np.frombuffer(part["radiance"], np.uint8).reshape(*small, 3), RADIANCE_STEPS
    )
    planes["shadow"][traced] = np.frombuffer(part["shadow"], np.uint8).reshape(*small, 3) / np.float32(255)
    normal = (_rows_joined(part["normal"], np.uint8, (height, width, 3)).astype(np.float32) - 128) / 127
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    planes["normal"] = np.where(length > 0.5, normal / np.maximum(length, 1e-6), 0).astype(np.float32)
    steps = _rows_joined(part["depth"], np.uint16, (height, width, 1))[..., 0].astype(np.float64)
    depth = near * np.exp((steps - 1) / (DEPTH_STEPS - 1) * np.log(far / near))
    planes["depth"] = np.where(steps > 0, depth, 0).astype(np.float32)
    motion = _rows_joined(part["motion"], np.uint16, (height, width, 2)).view(np.int16)
    planes["motion"] = motion.astype(np.float32) / MOTION_STEPS
    for name, channels in UNIT_PLANES.items():
        values = _rows_joined(part[name], np.uint8, (height, width, channels)) / np.float32(255)
        planes[name] = values if channels > 1 else values[..., 0]
    return planes


def _rows_apart(values: NDArray[Any]) -> NDArray[np.uint8]:
    """[H, W, C] to planes of differences from the left neighbour; 16-bit values as their high bytes, then low bytes."""
    planar = np.moveaxis(values, -1, 0)
    differences = np.diff(planar, axis=2, prepend=planar.dtype.type(0)).astype(values.dtype)
    if values.dtype == np.uint8:
        return np.ascontiguousarray(differences)
    return np.stack([(differences >> 8).astype(np.uint8), (differences & 255).astype(np.uint8)])


def _rows_joined(content: bytes, kind: Any, shape: tuple[int, int, int]) -> NDArray[Any]:
    height, width, channels = shape
    planar = (channels, height, width)
    raw = np.frombuffer(content, np.uint8)
    differences: NDArray[Any]
    if kind is np.uint8:
        differences = raw.reshape(planar)
    else:
        halves = raw.reshape(2, *planar).astype(np.uint16)
        differences = halves[0] * np.uint16(256) + halves[1]
    summed = np.cumsum(differences, axis=2, dtype=kind)
    return np.ascontiguousarray(np.moveaxis(summed, 0, -1))


def _to_curve(linear: NDArray[Any], steps: int) -> NDArray[np.uint16]:
    scaled = np.log1p(CURVE * np.clip(linear.astype(np.float32), 0, BRIGHTEST)) / np.log1p(CURVE * BRIGHTEST)
    return np.asarray(np.round(scaled * steps), np.uint16)


def _from_curve(values: NDArray[Any], steps: int) -> NDArray[np.float32]:
    scaled = values.astype(np.float32) / steps * np.log1p(CURVE * BRIGHTEST)
    return np.asarray(np.expm1(scaled) / CURVE, np.float32)


def _encode_video(pictures: Sequence[NDArray[np.uint16]], crf: int) -> bytes:
    """HEVC 4:4:4 with 10 bits, the three colours as they are (planes G, B, R)."""
    target = io.BytesIO()
    height, width = pictures[0].shape[:2]
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx265", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "gbrp10le"
        stream.time_base = Fraction(1, 24)
        # Without B-frames: of fewer frames than it reorders, x265 leaves the decoding times unset.
        stream.options = {"crf": str(crf), "preset": "slow", "x265-params": "log-level=none:bframes=0"}
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gbrp10le")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


def _decode_video(file: Path) -> Iterator[NDArray[np.uint16]]:
    try:
        with av.open(str(file)) as container:
            for frame in container.decode(video=0):
                yield np.asarray(frame.to_ndarray(format="gbrp10le"), np.uint16)
    except (av.error.FFmpegError, OSError) as error:
        raise SequenceFileError(f"{file}: not a video of this format ({error}); restore it with git") from error


def _cut(stream: bytes, index: int, count: int) -> bytes:
    size = len(stream) // count
    return stream[index * size : (index + 1) * size]
