"""The errors of `streams`: one small tree, the remedy in the text, `retriable` on the class.

A `WireError` condemns one record: it becomes a dead letter and its neighbours go on. Every other `StreamError`
is about Kafka itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from streams.records import Origin

__all__ = [
    "BrokerRefusedError",
    "BrokerUnavailableError",
    "FrameTooLargeError",
    "HeaderError",
    "OutcomeError",
    "PartsError",
    "PayloadError",
    "PlaneError",
    "RecordTooLargeError",
    "SecurityFileError",
    "StreamError",
    "UnknownVersionError",
    "WireError",
]


class StreamError(Exception):
    """Whatever goes wrong between a record and its outcome."""

    retriable: ClassVar[bool] = False


class WireError(StreamError, ValueError):
    """A record breaks the wire contract; the same record would break it again."""


class HeaderError(WireError):
    """A header (or the record's key) is missing or says what it must not."""

    def __init__(self, header: str, expected: str, got: object, remedy: str) -> None:
        super().__init__(f"header {header!r}: expected {expected}, got {_shortened(got)}; {remedy}")
        self.header = header


class UnknownVersionError(HeaderError):
    """`foveal-version` names a version of the contract that this release does not speak."""


class PayloadError(WireError):
    """The value is not what its headers say: empty, truncated, corrupted, or of another codec."""


class FrameTooLargeError(WireError):
    """A frame has more pixels or bytes than this deployment takes; found before anything is decoded."""


class PartsError(WireError):
    """The parts of one frame never came together, or contradict each other.

    `origins` names every record that had come of that frame: each of them ends with this error.
    """

    def __init__(self, message: str, origins: Sequence[Origin] = ()) -> None:
        super().__init__(message)
        self.origins = tuple(origins)


class PlaneError(WireError):
    """A plane of a G-buffer is missing, misshapen, of an unknown type or not finite."""

    def __init__(self, plane: str, problem: str) -> None:
        super().__init__(f"plane {plane!r}: {problem}")
        self.plane = plane


class OutcomeError(StreamError, ValueError):
    """A batch would end an input offset twice: a fault of the caller, never of a record."""


class RecordTooLargeError(StreamError, ValueError):
    """A record exceeds what its topic takes."""


class BrokerUnavailableError(StreamError, ConnectionError):
    """No broker answers at the configured address."""

    retriable: ClassVar[bool] = True


class BrokerRefusedError(StreamError, PermissionError):
    """A broker is there and does not take this client, or this client not the broker; the text names the setting."""


class SecurityFileError(StreamError, FileNotFoundError):
    """A file that `streams.security` names is not there."""


def _shortened(got: object) -> str:
    text = repr(got)
    return text if len(text) <= 80 else f"{text[:77]}..."
