"""Results as CloudEvents 1.0, Kafka protocol binding 1.0.2, binary content mode.

Attributes are record headers with the prefix `ce_`; the value is the data. `ce_id` is the input's
"topic/partition/offset" and `ce_source` tells the kinds of result apart, so that a reader can drop what it has seen.
A render's data is its image, and its `RenderResult` is the header `foveal-render`, as JSON.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError

from streams.errors import HeaderError, PayloadError
from streams.headers import OutputFormat
from streams.messages import ExpressionsResult, PeopleResult, RenderResult
from streams.outcomes import Headers, ResultRecord, TopicRole
from streams.records import FrameRecord, GBufferRecord, Origin

__all__ = [
    "CONTENT_TYPES",
    "EVENT_TYPES",
    "RENDER_HEADER",
    "CloudEvent",
    "ReceivedResult",
    "Result",
    "parse_event",
    "parse_result",
    "result_record",
]

Result = PeopleResult | ExpressionsResult | RenderResult

SPEC_VERSION: Final = "1.0"
RENDER_HEADER: Final = "foveal-render"
JSON_TYPE: Final = "application/json"
EVENT_TYPES: Final[dict[TopicRole, str]] = {
    "people": "foveal.people.v1",
    "expressions": "foveal.expressions.v1",
    "renders": "foveal.render.v1",
}
CONTENT_TYPES: Final[dict[OutputFormat, str]] = {
    OutputFormat.PNG: "image/png",
    OutputFormat.JPEG: "image/jpeg",
    OutputFormat.EXR: "image/x-exr",
    OutputFormat.HALF: "application/octet-stream",
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MODELS: dict[TopicRole, type[Result]] = {
    "people": PeopleResult,
    "expressions": ExpressionsResult,
    "renders": RenderResult,
}


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """The attributes of one event. `appended_at_ms` (extension `appendedat`) is when the input was appended."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    content_type: str
    appended_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ReceivedResult:
    """A result as a reader gets it. `image` is a render's data, packed as `result.content` says, else None.

    Fields that a later release adds to the messages are left out of `result`.
    """

    role: TopicRole
    event: CloudEvent
    origin: Origin
    result: Result
    image: bytes | None


def result_record(
    frame: FrameRecord | GBufferRecord, result: Result, image: bytes | None = None, *, now_ns: int | None = None
) -> ResultRecord:
    """A frame's result, ready for its topic. A render comes with its packed `image`, the others without.

    Raises: ValueError if there is an image with no render, or the reverse.
    """
    role = next(role for role, model in _MODELS.items() if isinstance(result, model))
    document = result.model_dump_json().encode()
    added: Headers = ()
    if isinstance(result, RenderResult):
        if not image:
            raise ValueError("image: expected the packed render, got none")
        value, content_type, added = image, CONTENT_TYPES[result.content], ((RENDER_HEADER, document),)
    elif image is not None:
        raise ValueError(f"image: expected none with a result of {role}")
    else:
        value, content_type = document, JSON_TYPE
    event = CloudEvent(
        id=str(frame.origin),
        source=f"/foveal/{role}",
        type=EVENT_TYPES[role],
        subject=frame.stream_id,
        time=_EPOCH + timedelta(microseconds=(time.time_ns() if now_ns is None else now_ns) // 1000),
        content_type=content_type,
        appended_at_ms=frame.appended_at_ms,
    )
    return ResultRecord(
        topic_role=role,
        origin=frame.origin,
        part_offsets=frame.part_offsets,
        key=frame.stream_id.encode(),
        headers=_event_headers(event) + added,
        value=value,
    )


def parse_event(headers: Iterable[tuple[str, bytes]]) -> CloudEvent:
    """Read the attributes of an event. Raises: HeaderError naming the one that is missing or wrong."""
    found = {name: bytes(value or b"").decode(errors="replace") for name, value in headers}
    for name in ("ce_specversion", "ce_id", "ce_source", "ce_type"):
        if not found.get(name):
            raise HeaderError(name, "a CloudEvents attribute", found.get(name), "read a topic of Foveal's results")
    if found["ce_specversion"] != SPEC_VERSION:
        raise HeaderError("ce_specversion", SPEC_VERSION, found["ce_specversion"], "read it with a newer release")
    try:
        at = datetime.fromisoformat(found.get("ce_time", ""))
    except ValueError as error:
        raise HeaderError("ce_time", "an RFC 3339 time", found.get("ce_time"), "read a topic of results") from error
    appended = found.get("ce_appendedat", "")
    return CloudEvent(
        id=found["ce_id"],
        source=found["ce_source"],
        type=found["ce_type"],
        subject=found.get("ce_subject", ""),
        time=at,
        content_type=found.get("content-type", ""),
        appended_at_ms=int(appended) if appended.isascii() and appended.isdigit() and len(appended) < 20 else None,
    )


def parse_result(headers: Iterable[tuple[str, bytes]], value: bytes | None) -> ReceivedResult:
    """Read one record of a result topic.

    Raises: HeaderError, PayloadError if it is no event of ours or its document breaks the schema.
    """
    headers = tuple(headers)
    event = parse_event(headers)
    roles = {kind: role for role, kind in EVENT_TYPES.items()}
    if event.type not in roles:
        raise HeaderError("ce_type", " or ".join(roles), event.type, "read it with the release that wrote it")
    role = roles[event.type]
    document, image = value, None
    if role == "renders":
        document, image = next((data for name, data in headers if name == RENDER_HEADER), None), value
    if not document or (role == "renders" and not image):
        raise PayloadError(f"{event.type} {event.id}: the document or the image is missing")
    try:
        origin = Origin.parse(event.id)
        result = _MODELS[role].model_validate_json(document, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise PayloadError(f"{event.type} {event.id}: {place}: {first['msg']}") from error
    except ValueError as error:
        raise HeaderError("ce_id", "topic/partition/offset", event.id, "read a topic of Foveal's results") from error
    return ReceivedResult(role, event, origin, result, image)


def _event_headers(event: CloudEvent) -> Headers:
    texts = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": event.id,
        "ce_source": event.source,
        "ce_type": event.type,
        "ce_time": event.time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "ce_subject": event.subject,
        "ce_appendedat": str(event.appended_at_ms),
        "content-type": event.content_type,
    }
    return tuple((name, text.encode()) for name, text in texts.items())
