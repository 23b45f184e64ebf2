"""The bytes of the contract, written down: whoever changes them changes version 1."""

from __future__ import annotations

import numpy as np

from streams.cloudevents import result_record
from streams.gbuffer import encode_planes
from streams.headers import (
    FrameCodec,
    FrameHeaders,
    History,
    OutputFormat,
    PlaneCodec,
    SentFrameHeaders,
    SentGBufferHeaders,
    encode,
)
from streams.messages import Identity, PeopleResult, Person
from streams.records import FrameRecord, Origin, RawRecord

BASE = {"seq": 42, "captured_at_ns": 1_700_000_000_000_000_001, "width": 2, "height": 1}


def test_frame_headers() -> None:
    sent = SentFrameHeaders.model_validate(
        {"codec": FrameCodec.RAW_BGR24, "keyframe": False, "part": 1, "parts": 3, **BASE}
    )
    assert encode(sent) == (
        ("foveal-version", b"1"),
        ("seq", b"42"),
        ("captured-at", b"1700000000000000001"),
        ("width", b"2"),
        ("height", b"1"),
        ("part", b"1"),
        ("parts", b"3"),
        ("codec", b"raw-bgr24"),
        ("keyframe", b"false"),
    )


def test_gbuffer_headers_and_value() -> None:
    planes = {
        "radiance": np.array([[[0, 0.5, 1], [1, 2, 4]]]),
        "mask": np.array([[0, 1]]),
        "albedo": np.ones((1, 2, 3)),
        "normal": np.zeros((1, 2, 3)),
        "depth": np.ones((1, 2)),
        "motion": np.zeros((1, 2, 2)),
    }
    value, headers = encode_planes(planes, PlaneCodec.RAW)
    assert value[:14].hex() == "00000038003c003c004000440001"
    assert len(value) == 12 + 2 + 12 + 12 + 4 + 8
    fields = {"planes": headers[:2], "scene": "hall", "history": History.NONE, "output": OutputFormat.HALF}
    assert encode(SentGBufferHeaders.model_validate({**fields, "exposure": 1.5, **BASE}))[5:] == (
        ("codec", b"planes"),
        (
            "planes",
            b'[{"name":"radiance","dtype":"float16","shape":[1,2,3],"codec":"raw","length":12},'
            b'{"name":"mask","dtype":"uint8","shape":[1,2],"codec":"raw","length":2}]',
        ),
        ("scene", b"hall"),
        ("history", b"none"),
        ("output", b"half"),
        ("exposure", b"1.5"),
    )


def test_a_people_event() -> None:
    raw = RawRecord(Origin("foveal.frames", 1, 9), b"cam", (), b"x", 1234)
    frame = FrameRecord(
        origin=raw.origin,
        part_offsets=(9,),
        stream_id="cam",
        payload=b"x",
        appended_at_ms=1234,
        raws=(raw,),
        headers=FrameHeaders.model_validate({"codec": FrameCodec.JPEG, **BASE}),
    )
    person = Person(box_xyxy=(0, 0.5, 1, 1), score=0.75, identity=Identity(status="unavailable"))
    result = PeopleResult.model_validate({"stream_id": "cam", "people": (person,), **BASE})
    record = result_record(frame, result, now_ns=1_000_000_000)
    assert record.headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"foveal.frames/1/9"),
        ("ce_source", b"/foveal/people"),
        ("ce_type", b"foveal.people.v1"),
        ("ce_time", b"1970-01-01T00:00:01.000000Z"),
        ("ce_subject", b"cam"),
        ("ce_appendedat", b"1234"),
        ("content-type", b"application/json"),
    )
    assert record.value == (
        b'{"schema_version":1,"stream_id":"cam","seq":42,"captured_at_ns":1700000000000000001,"width":2,"height":1,'
        b'"people":[{"box_xyxy":[0.0,0.5,1.0,1.0],"score":0.75,"track_id":null,"identity":{"status":"unavailable",'
        b'"gallery":null,"identity_id":null,"name":null,"score":null,"margin":null,"probability":null,"provisional":null,'
        b'"unreadable":null}}],"splits":[]}'
    )
