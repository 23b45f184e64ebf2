"""Record headers of the input topics, version 1 of the wire contract (docs/wire-contract.md).

Every header value is UTF-8 text, so that `kcat -H name=value` can produce a frame. Headers that the contract does
not name are ignored: tracing systems add their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from streams.errors import FrameTooLargeError, HeaderError, UnknownVersionError

__all__ = [
    "CONTRACT_VERSION",
    "NUMBER_PATTERN",
    "WHOLE_PATTERN",
    "FrameCodec",
    "FrameHeaders",
    "FrameLimits",
    "GBufferCodec",
    "GBufferHeaders",
    "History",
    "OutputFormat",
    "PlaneCodec",
    "PlaneHeader",
    "RawHeaders",
    "SentFrameHeaders",
    "SentGBufferHeaders",
    "encode",
    "fields_by_header",
    "parse_frame_headers",
    "parse_gbuffer_headers",
]

CONTRACT_VERSION = "1"
MAX_INT64 = 2**63 - 1
MAX_PARTS = 4096

# How numbers are written; JSON Schema and Python read these the same way.
WHOLE_PATTERN = "^[0-9]{1,19}$"
NUMBER_PATTERN = r"^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"

RawHeaders = Iterable[tuple[str, bytes]]


class FrameCodec(StrEnum):
    """How the pixels of a frame are packed; for h264 and hevc a value is one access unit (Annex B)."""

    JPEG = "jpeg"
    PNG = "png"
    H264 = "h264"
    HEVC = "hevc"
    RAW_BGR24 = "raw-bgr24"

    @property
    def is_video(self) -> bool:
        """Whether a frame needs the ones before it."""
        return self in (FrameCodec.H264, FrameCodec.HEVC)


class GBufferCodec(StrEnum):
    """How a G-buffer is packed: the planes of the `planes` header one after the other, or one OpenEXR file."""

    PLANES = "planes"
    EXR = "exr"


class PlaneCodec(StrEnum):
    """How one plane is packed: as it is, one LZ4 frame, or one Zstandard frame."""

    RAW = "raw"
    LZ4 = "lz4"
    ZSTD = "zstd"


class History(StrEnum):
    """Whether a render may use the frames before it."""

    KEEP = "keep"
    NONE = "none"


class OutputFormat(StrEnum):
    """What a render comes back as; `half` is raw little-endian float16 [H, W, 3], linear."""

    PNG = "png"
    JPEG = "jpeg"
    EXR = "exr"
    HALF = "half"


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What a deployment takes, checked before any pixel is decoded."""

    max_side: int = 8192
    max_pixels: int = 33_000_000


def _whole(value: object) -> object:
    """Text to int, by the digits alone: no sign, blank or underscore, which `int()` would let through."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(WHOLE_PATTERN, value) is None:
        raise ValueError("not a whole number")
    return int(value)


def _flag(value: object) -> object:
    return {"true": True, "1": True, "false": False, "0": False}.get(value, value) if isinstance(value, str) else value


def _number(value: object) -> object:
    if not isinstance(value, str):
        return value
    if re.fullmatch(NUMBER_PATTERN, value) is None:
        raise ValueError("not a number above 0")
    return float(value)


def _json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


Whole = Annotated[int, BeforeValidator(_whole)]


class PlaneHeader(BaseModel):
    """One entry of the `planes` header: a plane's place in the value and what it unpacks to."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=64)
    dtype: Literal["float16", "float32", "uint8"]
    shape: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(min_length=2, max_length=3, strict=False)
    codec: PlaneCodec = Field(default=PlaneCodec.RAW, strict=False)
    length: int = Field(ge=1, le=MAX_INT64, description="bytes of this plane in the value, as packed")


class _CommonHeaders(BaseModel):
    """What both input topics carry. The alias of a field, if it has one, is the header's name."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)

    version: Literal["1"] = Field(
        default="1",
        validation_alias="foveal-version",
        serialization_alias="foveal-version",
        description="version of the contract: '1'",
    )
    seq: Whole = Field(ge=0, le=MAX_INT64, description="a whole number, one more for each frame of the stream")
    captured_at_ns: Whole = Field(
        validation_alias="captured-at",
        serialization_alias="captured-at",
        ge=0,
        le=MAX_INT64,
        description="nanoseconds since 1970-01-01 UTC, a whole number",
    )
    width: Whole = Field(ge=1, le=MAX_INT64, description="the frame's width in pixels, at least 1")
    height: Whole = Field(ge=1, le=MAX_INT64, description="the frame's height in pixels, at least 1")
    part: Whole = Field(default=0, ge=0, lt=MAX_PARTS, description="which part this is, from 0 to parts - 1")
    parts: Whole = Field(default=1, ge=1, le=MAX_PARTS, description=f"parts of this frame, 1 to {MAX_PARTS}")

    @model_validator(mode="after")
    def _part_is_one_of_parts(self) -> Self:
        if self.part >= self.parts:
            raise ValueError("part")
        return self


class _FrameFields(_CommonHeaders):
    codec: FrameCodec = Field(description="one of jpeg, png, h264, hevc, raw-bgr24")
    keyframe: Annotated[bool, BeforeValidator(_flag)] = Field(
        default=True, strict=True, description="true or false: decodable without the frames before it"
    )


class _GBufferFields(_CommonHeaders):
    codec: GBufferCodec = Field(default=GBufferCodec.PLANES, description="one of planes, exr")
    planes: Annotated[tuple[PlaneHeader, ...], BeforeValidator(_json)] = Field(
        default=(),
        max_length=32,
        description="a JSON list of {name, dtype, shape, codec, length}, in the value's order",
    )
    scene: str | None = Field(
        default=None, min_length=1, max_length=200, description="the scene's name, 1 to 200 characters"
    )
    history: History = Field(default=History.KEEP, description="keep, or none to start afresh")
    output: OutputFormat = Field(default=OutputFormat.PNG, description="one of png, jpeg, exr, half")
    exposure: Annotated[float, BeforeValidator(_number)] | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="a factor on linear radiance before the tone curve, above 0",
    )

    @model_validator(mode="after")
    def _planes_are_named(self) -> Self:
        if (self.codec is GBufferCodec.PLANES) != bool(self.planes):
            raise ValueError("planes")
        return self


class FrameHeaders(_FrameFields):
    """Headers of a received `foveal.frames` record; unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore")


class GBufferHeaders(_GBufferFields):
    """Headers of a received `foveal.gbuffers` record; unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore")


class SentFrameHeaders(_FrameFields):
    """Headers of a frame to be sent: a name that the contract does not know is a mistake here."""

    model_config = ConfigDict(extra="forbid")


class SentGBufferHeaders(_GBufferFields):
    """Headers of a G-buffer to be sent: a name that the contract does not know is a mistake here."""

    model_config = ConfigDict(extra="forbid")


_Headers = TypeVar("_Headers", FrameHeaders, GBufferHeaders)


def parse_frame_headers(raw: RawHeaders, limits: FrameLimits | None = None) -> FrameHeaders:
    """Read the headers of one `foveal.frames` record.

    Raises: UnknownVersionError, HeaderError naming the header, FrameTooLargeError by the size that they claim.
    """
    return _parse(FrameHeaders, raw, limits or FrameLimits())


def parse_gbuffer_headers(raw: RawHeaders, limits: FrameLimits | None = None) -> GBufferHeaders:
    """Read the headers of one `foveal.gbuffers` record; raises as `parse_frame_headers` does."""
    return _parse(GBufferHeaders, raw, limits or FrameLimits())


def encode(headers: _FrameFields | _GBufferFields) -> tuple[tuple[str, bytes], ...]:
    """Headers as Kafka takes them, in the order of the contract; what has its default value and no say is left out."""
    fields = headers.model_dump(mode="json", exclude_none=True)
    if not headers.model_fields_set & {"part", "parts"}:
        del fields["part"], fields["parts"]
    if not fields.get("planes", True):
        del fields["planes"]
    return tuple((name, _text(value).encode()) for name, value in fields.items())


def fields_by_header(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Header name -> field, in the order of the contract."""
    return {field.serialization_alias or name: field for name, field in model.model_fields.items()}


def _parse(model: type[_Headers], raw: RawHeaders, limits: FrameLimits) -> _Headers:
    texts = _texts(raw, set(fields_by_header(model)))
    version = texts.get("foveal-version")
    if version != CONTRACT_VERSION:
        kind = HeaderError if version is None else UnknownVersionError
        raise kind("foveal-version", f"{CONTRACT_VERSION!r}", version, "send the version that this release speaks")
    try:
        headers = model.model_validate(texts)
    except ValidationError as error:
        raise _named(model, texts, error) from error
    if max(headers.width, headers.height) > limits.max_side or headers.width * headers.height > limits.max_pixels:
        raise FrameTooLargeError(
            f"headers 'width' and 'height': expected at most {limits.max_side} a side and "
            f"{limits.max_pixels:,} pixels, got {headers.width}x{headers.height}; "
            "send it smaller, or raise the limits of the deployment"
        )
    return headers


def _texts(raw: RawHeaders, wanted: set[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, value in raw:
        if name not in wanted:
            continue
        if name in texts:
            raise HeaderError(name, "it once", "it twice", "send each header once")
        try:
            texts[name] = bytes(value or b"").decode()
        except UnicodeDecodeError as error:
            raise HeaderError(name, "UTF-8 text", value, "send header values as text, not as packed bytes") from error
    return texts


def _named(model: type[BaseModel], texts: Mapping[str, str], error: ValidationError) -> HeaderError:
    """The first thing that pydantic found, said in the words of the contract."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    fields = fields_by_header(model)
    # A rule between two headers names its header in the message, since pydantic gives it no place.
    name = str(first["loc"][0]) if first["loc"] else first["msg"].removeprefix("Value error, ")
    inside = ".".join(str(step) for step in first["loc"][1:])
    expected = str(fields[name].description) + (f" ({inside}: {first['msg']})" if inside else "")
    if name == "planes" and "planes" not in texts and texts.get("codec", "planes") == "planes":
        return HeaderError(name, expected, None, "add it, or send one OpenEXR file with codec=exr")
    if name == "planes" and texts.get("codec") == "exr":
        return HeaderError(name, "none with codec=exr", texts.get(name), "leave it out, or send codec=planes")
    remedy = "correct it" if name in texts else "add it"
    return HeaderError(name, expected, texts.get(name), f"{remedy} (docs/wire-contract.md)")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value, separators=(",", ":"))
    return str(value)
