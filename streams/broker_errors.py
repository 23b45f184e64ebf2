"""Errors between this process and the brokers. `BrokerUnavailableError` and the root are in `streams/errors.py`."""

from __future__ import annotations

from typing import ClassVar

from streams.errors import StreamError

__all__ = ["ConsumerFailedError", "MemberFencedError", "PublisherFailedError", "TopicMissingError"]


class TopicMissingError(StreamError, LookupError):
    """A topic that is to be read does not exist."""


class MemberFencedError(StreamError, RuntimeError):
    """Another process has taken this member's place: this one is a leftover and must end."""


class ConsumerFailedError(StreamError, RuntimeError):
    """The polling thread ended by an error that waiting cannot cure; it is the cause of this one."""


class PublisherFailedError(StreamError, RuntimeError):
    """The publishing thread ended by an error that trying again cannot cure; it is the cause of this one."""

    retriable: ClassVar[bool] = True
