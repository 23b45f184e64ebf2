"""The contract as documents: a JSON Schema (2020-12) for each message and one AsyncAPI 3.0 document.

All come from the pydantic models, so that they cannot say anything else than the code does. The committed copies are
in docs/schema; `foveal schema --check docs/schema` finds out whether they are stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import models_json_schema

from streams.cloudevents import CONTENT_TYPES, EVENT_TYPES, RENDER_HEADER
from streams.config import TopicsConfig
from streams.headers import (
    CONTRACT_VERSION,
    NUMBER_PATTERN,
    WHOLE_PATTERN,
    FrameHeaders,
    GBufferHeaders,
    PlaneHeader,
    fields_by_header,
)
from streams.messages import DeadLetter, ExpressionsResult, Outcome, PeopleResult, RenderResult
from streams.outcomes import DEADLETTER_HEADERS, TopicRole

__all__ = ["MESSAGES", "asyncapi", "documents", "header_schema", "message_schema", "stale_documents", "text_of"]

Document = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
MESSAGES: Final[dict[str, type[BaseModel]]] = {
    "people": PeopleResult,
    "expressions": ExpressionsResult,
    "render": RenderResult,
    "outcome": Outcome,
    "deadletter": DeadLetter,
}
HEADERS: Final[dict[str, type[FrameHeaders | GBufferHeaders]]] = {"frame": FrameHeaders, "gbuffer": GBufferHeaders}

_COMPONENTS = "#/components/schemas/"


def documents() -> dict[str, Document]:
    """File name -> document, all of them."""
    found = {f"{name}-headers.schema.json": _titled(header_schema(model)) for name, model in HEADERS.items()}
    found |= {f"{name}.schema.json": _titled(message_schema(model)) for name, model in MESSAGES.items()}
    return {**found, "asyncapi.json": asyncapi()}


def stale_documents(folder: Path) -> list[str]:
    """Names of the documents that `folder` lacks or has otherwise, and of schemas there that are none of ours."""
    wanted = {name: text_of(document) for name, document in documents().items()}
    there = {path.name: path.read_text() for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def text_of(document: Document) -> str:
    """A document as it is committed."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def message_schema(model: type[BaseModel]) -> Document:
    """What is sent. Readers let further fields pass, so that an older one can read a later release."""
    return model.model_json_schema(mode="serialization")


def header_schema(model: type[FrameHeaders | GBufferHeaders]) -> Document:
    """The headers of an input record as an object of texts, since every header value is UTF-8 text."""
    fields = fields_by_header(model)
    # `foveal-version` has a default for who builds headers in Python; on the wire it is needed.
    required = [name for name, field in fields.items() if field.is_required() or name == "foveal-version"]
    return {
        "title": model.__name__,
        "description": (model.__doc__ or "").strip(),
        "type": "object",
        "properties": {name: _text_schema(field) for name, field in fields.items()},
        "required": required,
        "additionalProperties": True,
    }


def asyncapi() -> Document:
    """The AsyncAPI 3.0 document, from the view of the application: it receives frames and sends results."""
    topics = TopicsConfig()
    messages = _messages()
    _, definitions = models_json_schema(
        [(model, "serialization") for model in MESSAGES.values()], ref_template=_COMPONENTS + "{model}"
    )
    channels = {name: getattr(topics, name).name for name in (*_RECEIVED, *_SENT)}
    of_channel = {**_RECEIVED, **_SENT}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Foveal",
            "version": CONTRACT_VERSION,
            "description": "Frames and G-buffers in, people, expressions and renders out. See docs/wire-contract.md.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            name: {
                "address": address,
                "messages": {of_channel[name]: {"$ref": f"#/components/messages/{of_channel[name]}"}},
            }
            for name, address in channels.items()
        },
        "operations": {
            **{f"receive-{name}": _operation("receive", name, message) for name, message in _RECEIVED.items()},
            **{f"send-{name}": _operation("send", name, message) for name, message in _SENT.items()},
        },
        "components": {
            "messages": messages,
            "schemas": {name: _draft7(schema) for name, schema in sorted(definitions["$defs"].items())},
        },
    }


# Channel -> message, as the application sees it.
_RECEIVED: Final = {"frames": "frame", "gbuffers": "gbuffer"}
_SENT: Final = {
    "people": "people",
    "expressions": "expressions",
    "renders": "render",
    "outcomes": "outcome",
    "deadletters": "deadletter",
}


def _operation(action: str, channel: str, message: str) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
    }


def _messages() -> Document:
    binary = {"type": "string", "format": "binary"}
    octets = "application/octet-stream"
    pictures = {"type": "string", "enum": sorted(CONTENT_TYPES.values())}
    dead = {"type": "object", "properties": {name: {"type": "string"} for name in DEADLETTER_HEADERS}}
    return {
        "frame": _message("One frame, or one part of it", _draft7(header_schema(FrameHeaders)), binary, octets),
        "gbuffer": _message(
            "One frame's G-buffer, or one part of it", _draft7(header_schema(GBufferHeaders)), binary, octets
        ),
        "people": _message("The people of one frame", _event_headers("people"), _ref(PeopleResult)),
        "expressions": _message("The faces of one frame", _event_headers("expressions"), _ref(ExpressionsResult)),
        "render": _message("One reconstructed frame", _event_headers("renders", pictures), binary, octets),
        "outcome": _message("What one transaction ended on one partition", {"type": "object"}, _ref(Outcome)),
        "deadletter": _message(
            "A record as it came, with its own headers, the error and its origin",
            {**dead, "required": list(DEADLETTER_HEADERS)},
            binary,
            octets,
        ),
    }


def _message(summary: str, headers: Document, payload: Document, content_type: str = "application/json") -> Document:
    key = {"type": "string", "description": "The stream's id, UTF-8; of an outcome, its topic and partition."}
    return {
        "summary": summary,
        "contentType": content_type,
        "headers": headers,
        "payload": payload,
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }


def _event_headers(role: TopicRole, content: Document | None = None) -> Document:
    properties: Document = {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "pattern": r"^[^/]+/[0-9]+/[0-9]+$", "description": "input topic/partition/offset"},
        "ce_source": {"type": "string", "const": f"/foveal/{role}"},
        "ce_type": {"type": "string", "const": EVENT_TYPES[role]},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string", "description": "the stream's id"},
        "ce_appendedat": {
            "type": "string",
            "pattern": WHOLE_PATTERN,
            "description": "the input's append, ms since 1970",
        },
        "content-type": content or {"type": "string", "const": "application/json"},
    }
    if role == "renders":
        properties[RENDER_HEADER] = {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "a RenderResult (components/schemas/RenderResult)",
        }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _text_schema(field: FieldInfo) -> Document:
    """How a header's text looks, by the type that it is read as."""
    schema: Document = {"type": "string", "description": field.description}
    kinds = set(_types_in(field.annotation))
    enums = [kind for kind in kinds if issubclass(kind, StrEnum)]
    if enums:
        schema["enum"] = [str(member.value) for member in enums[0]]
    elif bool in kinds:
        schema["enum"] = ["true", "false", "1", "0"]
    elif int in kinds:
        schema["pattern"] = WHOLE_PATTERN
    elif PlaneHeader in kinds:
        schema["contentMediaType"] = "application/json"
        schema["contentSchema"] = TypeAdapter(list[PlaneHeader]).json_schema()
    elif float in kinds:
        schema["pattern"] = NUMBER_PATTERN
    elif not kinds:
        schema["const"] = CONTRACT_VERSION
    else:
        schema |= {"minLength": 1, "maxLength": 200}
    return schema


def _types_in(annotation: Any) -> Iterator[type]:
    """The classes inside an annotation: `tuple[X, ...] | None` -> X; a Literal has none."""
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        if annotation is not type(None):
            yield annotation
        return
    for inner in getattr(annotation, "__args__", ()):
        yield from _types_in(inner)


def _titled(schema: Document) -> Document:
    return {"$schema": DIALECT, "$id": f"urn:foveal:{CONTRACT_VERSION}:{schema['title']}", **schema}


def _ref(model: type[BaseModel]) -> Document:
    return {"$ref": _COMPONENTS + model.__name__}


def _draft7(schema: Any) -> Any:
    """AsyncAPI 3.0 reads draft 7, in which `prefixItems` is still `items`, and no content schema is known."""
    if isinstance(schema, list):
        return [_draft7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {"items" if name == "prefixItems" else name: _draft7(value) for name, value in schema.items()}
    renamed.pop("contentSchema", None)
    return renamed
