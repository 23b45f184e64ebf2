"""The committed schemas are those of the code, and what is sent obeys them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer import Typer
from typer.testing import CliRunner

from foveal.commands.schema import schema
from streams.cloudevents import parse_result, result_record
from streams.errors import HeaderError, PayloadError
from streams.headers import FrameCodec, FrameHeaders, SentFrameHeaders, encode
from streams.messages import (
    EXPRESSIONS,
    Expression,
    ExpressionChange,
    ExpressionsResult,
    Face,
    Identity,
    Outcome,
    PeopleResult,
    Person,
    RenderResult,
    TrackSplit,
)
from streams.records import FrameRecord, Origin, RawRecord
from streams.schema import documents, stale_documents

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "docs" / "schema"
FRAME = {"stream_id": "cam", "seq": 3, "captured_at_ns": 5, "width": 64, "height": 48}
PEOPLE = PeopleResult(
    **FRAME,  # type: ignore[arg-type]
    people=(
        Person(
            box_xyxy=(1, 2, 3.5, 4),
            score=0.9,
            track_id=4,
            identity=Identity(status="known", gallery="g", identity_id="7", name="Ada", score=0.8, margin=0.2),
        ),
    ),
    splits=(TrackSplit(track_id=2, new_track_id=4),),
)
READ = Expression(
    probabilities=dict(zip(EXPRESSIONS, (0.1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1), strict=True)),
    label="happy",
    valence=0.5,
    arousal=-0.25,
    uncertainty=0.3,
)
FACES = ExpressionsResult(
    **FRAME,  # type: ignore[arg-type]
    faces=(
        Face(box_xyxy=(1, 2, 3, 4), score=0.5, landmarks_xy=((0, 1),) * 5, track_id=2, expression=READ, smoothed=READ),
        Face(box_xyxy=(1, 2, 3, 4), score=0.5, unreadable="too small"),
    ),
    changes=(ExpressionChange(track_id=2, at_ns=4, before=None, after="happy"),),
)
RENDER = RenderResult(**FRAME, content="png", history_frames=0, reset_reason="cut")  # type: ignore[arg-type]
OUTCOME = Outcome(
    group="g", input_topic="t", partition=0, results=((0, 4), (6, 6)), drops=(), deadletters=(), ended_at_ns=1
)


def frame() -> FrameRecord:
    raw = RawRecord(Origin("foveal.frames", 2, 11), b"cam", (), b"x", 1234)
    headers = FrameHeaders(codec=FrameCodec.JPEG, seq=3, captured_at_ns=5, width=64, height=48)
    return FrameRecord(
        origin=raw.origin,
        part_offsets=(10, 11),
        stream_id="cam",
        payload=b"x",
        appended_at_ms=1234,
        raws=(raw,),
        headers=headers,
    )


def test_the_committed_schemas_are_not_stale() -> None:
    assert stale_documents(COMMITTED) == [], "run: foveal schema --out docs/schema"


def test_the_command_writes_prints_and_compares(tmp_path: Path) -> None:
    app = Typer()
    app.command()(schema)
    runner = CliRunner()
    assert runner.invoke(app, ["--check", str(tmp_path)]).exit_code == 1
    assert runner.invoke(app, ["--out", str(tmp_path)]).exit_code == 0
    assert runner.invoke(app, ["--check", str(tmp_path)]).exit_code == 0
    assert json.loads(runner.invoke(app, ["people"]).stdout)["title"] == "PeopleResult"
    assert json.loads(runner.invoke(app, []).stdout)["asyncapi"] == "3.0.0"
    assert runner.invoke(app, ["cats"]).exit_code == 2


@pytest.mark.parametrize("name", [name for name in documents() if name != "asyncapi.json"])
def test_each_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads((COMMITTED / name).read_text()))


def test_asyncapi_refers_only_to_what_it_has() -> None:
    document = json.loads((COMMITTED / "asyncapi.json").read_text())
    references = set(_references(document))
    assert {"#/components/messages/frame", "#/components/schemas/PeopleResult"} <= references
    for reference in references:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    for schema_ in document["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema_)


@pytest.mark.parametrize(
    ("name", "message"), [("people", PEOPLE), ("expressions", FACES), ("render", RENDER), ("outcome", OUTCOME)]
)
def test_what_is_sent_obeys_its_schema(name: str, message: PeopleResult) -> None:
    wanted = json.loads((COMMITTED / f"{name}.schema.json").read_text())
    sent = json.loads(message.model_dump_json())
    jsonschema.validate(sent, wanted)
    assert type(message).model_validate(sent) == message
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**sent, "surprise": 1}, wanted)


def test_sent_headers_obey_their_schema() -> None:
    wanted = json.loads((COMMITTED / "frame-headers.schema.json").read_text())
    headers = encode(SentFrameHeaders(codec=FrameCodec.JPEG, seq=3, captured_at_ns=5, width=64, height=48))
    jsonschema.validate({name: value.decode() for name, value in headers}, wanted)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"codec": "jpeg"}, wanted)


@pytest.mark.parametrize(("message", "image"), [(PEOPLE, None), (FACES, None), (RENDER, b"\x89PNG")])
def test_a_result_is_a_cloud_event_and_reads_back(message: PeopleResult, image: bytes | None) -> None:
    record = result_record(frame(), message, image, now_ns=1_700_000_000_123_456_789)
    headers = dict(record.headers)
    assert headers["ce_id"] == b"foveal.frames/2/11"
    assert headers["ce_time"] == b"2023-11-14T22:13:20.123456Z"
    assert (record.key, record.part_offsets) == (b"cam", (10, 11))
    channel = {"people": "people", "expressions": "expressions", "renders": "render"}[record.topic_role]
    wanted = json.loads((COMMITTED / "asyncapi.json").read_text())["components"]["messages"][channel]["headers"]
    jsonschema.validate({name: value.decode() for name, value in record.headers}, wanted)
    got = parse_result(record.headers, record.value)
    assert (got.role, got.origin, got.result, got.image) == (record.topic_role, frame().origin, message, image)
    assert (got.event.subject, got.event.appended_at_ms) == ("cam", 1234)


def test_a_reader_lets_a_later_release_pass() -> None:
    record = result_record(frame(), PEOPLE)
    later = json.loads(record.value) | {"weather": "fine"}
    later["people"][0]["hat"] = True
    assert parse_result(record.headers, json.dumps(later).encode()).result == PEOPLE


def test_a_stranger_is_refused() -> None:
    record = result_record(frame(), PEOPLE)
    with pytest.raises(PayloadError, match=r"people\.0"):
        parse_result(record.headers, record.value.replace(b"0.9", b"9.0"))
    with pytest.raises(HeaderError, match="ce_id"):
        parse_result([item for item in record.headers if item[0] != "ce_id"], record.value)
    with pytest.raises(PayloadError, match="missing"):
        parse_result(record.headers, None)
    with pytest.raises(ValueError, match="render"):
        result_record(frame(), RENDER)


@pytest.mark.parametrize(
    "change", [{"label": "sad"}, {"probabilities": {"happy": 1.0}}, {"valence": 1.5}, {"uncertainty": float("nan")}]
)
def test_an_expression_is_a_distribution(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Expression"):
        Expression.model_validate(READ.model_dump() | change)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _references(inner)
