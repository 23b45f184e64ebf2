"""G-buffers: planes and OpenEXR come back whole, and every broken plane is named."""

from __future__ import annotations

import io
import json
from typing import Any

import lz4.frame
import numpy as np
import OpenEXR
import pytest
import zstandard
from numpy.typing import NDArray

from streams.errors import PayloadError, PlaneError, WireError
from streams.exr import decode_exr_image, encode_exr, encode_exr_image
from streams.exrfile import read_channels
from streams.gbuffer import PLANES, decode_planes, encode_planes
from streams.headers import GBufferCodec, GBufferHeaders, PlaneCodec, SentGBufferHeaders, encode, parse_gbuffer_headers
from streams.records import GBufferRecord, Origin, RawRecord

WIDTH, HEIGHT = 7, 5
Planes = dict[str, NDArray[Any]]


@pytest.fixture
def planes() -> Planes:
    rng = np.random.default_rng(3)
    made: Planes = {
        name: rng.random((HEIGHT, WIDTH, channels) if channels else (HEIGHT, WIDTH)).astype(np.float16)
        for name, channels in PLANES.items()
    }
    made["mask"] = rng.integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8)
    return made


def record(headers: GBufferHeaders, payload: bytes) -> GBufferRecord:
    raw = RawRecord(Origin("foveal.gbuffers", 0, 0), b"view", (), payload, 0)
    return GBufferRecord(
        origin=raw.origin,
        part_offsets=(0,),
        stream_id="view",
        payload=payload,
        appended_at_ms=0,
        raws=(raw,),
        headers=headers,
    )


def packed(planes: Planes, codec: PlaneCodec, **dtypes: str) -> GBufferRecord:
    value, headers = encode_planes(planes, codec, dtypes=dtypes)
    sent = SentGBufferHeaders(seq=0, captured_at_ns=0, width=WIDTH, height=HEIGHT, planes=headers)
    return record(parse_gbuffer_headers(encode(sent)), value)


def exr(payload: bytes, width: int = WIDTH) -> GBufferRecord:
    headers = GBufferHeaders(codec=GBufferCodec.EXR, seq=0, captured_at_ns=0, width=width, height=HEIGHT)
    return record(headers, payload)


def changed(got: GBufferRecord, **change: object) -> GBufferRecord:
    """The record with its first plane's header changed."""
    first, *rest = (plane.model_dump(mode="json") for plane in got.headers.planes)
    texts = {"planes": json.dumps([{**first, **change}, *rest])}
    fields = {**got.headers.model_dump(), **texts}
    return record(GBufferHeaders.model_validate(fields), got.payload)


@pytest.mark.parametrize("codec", PlaneCodec)
def test_planes_come_back(codec: PlaneCodec, planes: Planes) -> None:
    got = decode_planes(packed(planes, codec))
    assert list(got) == list(PLANES)
    assert all(np.array_equal(got[name], planes[name]) and got[name].dtype == planes[name].dtype for name in PLANES)
    assert decode_planes(packed(planes, codec, depth="float32"))["depth"].dtype == np.float32


def test_an_openexr_file_is_the_same(planes: Planes) -> None:
    got = decode_planes(exr(encode_exr(planes)))
    assert all(np.array_equal(got[name], planes[name]) and got[name].dtype == planes[name].dtype for name in PLANES)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("container", ["planes", "exr"])
def test_radiance_that_is_not_finite_is_named(value: float, dtype: str, container: str, planes: Planes) -> None:
    planes["radiance"] = planes["radiance"].astype(dtype)
    if container == "exr":
        planes["radiance"][2, 3, 1] = value
        got = exr(encode_exr(planes))
    else:
        got = packed(planes, PlaneCodec.RAW, radiance=dtype)
        payload = bytearray(got.payload)
        np.frombuffer(payload, dtype, count=3)[:] = value
        got = record(got.headers, bytes(payload))
    with pytest.raises(PlaneError, match=r"plane 'radiance': values: NaN or infinity"):
        decode_planes(got)


def test_a_sender_is_told_before_anything_goes(planes: Planes) -> None:
    with pytest.raises(PlaneError, match=r"plane 'depth'.*float32"):
        encode_planes({**planes, "depth": np.full((HEIGHT, WIDTH), 1e6, np.float32)})
    with pytest.raises(PlaneError, match="plane 'motion': missing"):
        encode_planes({name: plane for name, plane in planes.items() if name != "motion"})
    with pytest.raises(PlaneError, match="plane 'uv': unknown"):
        encode_planes({**planes, "uv": planes["motion"]})
    with pytest.raises(PlaneError, match="one height and width"):
        encode_planes({**planes, "depth": np.zeros((3, 3))})
    with pytest.raises(PlaneError, match=r"plane 'mask': values"):
        encode_planes({**planes, "mask": np.full((HEIGHT, WIDTH), 2)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [HEIGHT, WIDTH + 1, 3]}, r"plane 'radiance': shape: expected \[5, 7, 3\]"),
        ({"shape": [HEIGHT, WIDTH]}, "plane 'radiance': shape"),
        ({"name": "glow"}, "plane 'glow': unknown"),
        ({"name": "albedo"}, "plane 'albedo': expected once"),
        ({"length": 3}, "length"),
        ({"codec": "lz4"}, r"plane 'radiance': lz4: .*truncated or corrupted"),
        ({"codec": "zstd"}, r"plane 'radiance': zstd: "),
        ({"dtype": "uint8", "length": HEIGHT * WIDTH * 3}, "add up"),
    ],
)
def test_a_header_that_lies_is_named(change: dict[str, object], said: str, planes: Planes) -> None:
    with pytest.raises(WireError, match=said):
        decode_planes(changed(packed(planes, PlaneCodec.RAW), **change))


@pytest.mark.parametrize("codec", [PlaneCodec.LZ4, PlaneCodec.ZSTD])
def test_a_bomb_is_not_unpacked(codec: PlaneCodec, planes: Planes) -> None:
    zeros = bytes(50_000_000)
    bomb = lz4.frame.compress(zeros) if codec is PlaneCodec.LZ4 else zstandard.compress(zeros)
    whole = packed(planes, codec)
    first = whole.headers.planes[0].length
    got = record(changed(whole, length=len(bomb)).headers, bomb + whole.payload[first:])
    with pytest.raises(PlaneError, match="plane 'radiance'"):
        decode_planes(got)


@pytest.mark.parametrize("keep", [0.0, 0.05, 0.6, 0.999])
def test_a_truncated_openexr_file_is_an_error(keep: float, planes: Planes) -> None:
    whole = encode_exr(planes)
    with pytest.raises(PayloadError):
        decode_planes(exr(whole[: int(len(whole) * keep)]))


def test_an_openexr_file_may_not_lie_or_lack(planes: Planes) -> None:
    with pytest.raises(PayloadError, match="8x5, but the OpenEXR file is 7x5"):
        decode_planes(exr(encode_exr(planes), width=8))
    with pytest.raises(PlaneError, match="plane 'albedo': missing"):
        decode_planes(exr(encode_exr({name: plane for name, plane in planes.items() if name != "albedo"})))
    with pytest.raises(PlaneError, match="plane 'motion': channels"):
        decode_planes(exr(encode_exr({**planes, "motion": planes["motion"][..., :1]})))


@pytest.mark.parametrize("compression", ["NO", "ZIPS", "ZIP"])
def test_what_the_openexr_library_writes_is_read(compression: str) -> None:
    rng = np.random.default_rng(5)
    channels: Planes = {
        "depth.Z": rng.random((37, 9)).astype(np.float32),
        "extra.Y": rng.random((37, 9)).astype(np.float16),
    }
    channels["metallic.Y"] = np.zeros((37, 9), np.float16)
    header = {"compression": getattr(OpenEXR, f"{compression}_COMPRESSION"), "type": OpenEXR.scanlineimage}
    file = io.BytesIO()
    OpenEXR.File(header, dict(channels)).write(file)
    got = read_channels(file.getvalue(), 9, 37, {"depth.Z", "metallic.Y"})
    assert sorted(got) == ["depth.Z", "metallic.Y"]
    assert all(np.array_equal(got[name], channels[name]) for name in got)


def test_openexr_compressions_that_are_not_read_are_named() -> None:
    file = io.BytesIO()
    header = {"compression": OpenEXR.PIZ_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"depth.Z": np.zeros((4, 4), np.float32)}).write(file)
    with pytest.raises(PayloadError, match="write the file with ZIP, ZIPS or none"):
        read_channels(file.getvalue(), 4, 4, {"depth.Z"})


def test_a_render_as_openexr_comes_back() -> None:
    linear = np.linspace(0, 4, HEIGHT * WIDTH * 3, dtype=np.float32).reshape(HEIGHT, WIDTH, 3)
    got = decode_exr_image(encode_exr_image(linear), WIDTH, HEIGHT)
    assert np.allclose(got.astype(np.float32), linear, atol=2e-3)
