"""What goes wrong in the actors, told apart by what the reader can do about it.

`retriable` says whether the same action may succeed later without anybody's help.
"""

from __future__ import annotations

__all__ = [
    "ActorError",
    "ConfigError",
    "EngineLostError",
    "LoopFailedError",
    "LoopStalledError",
    "SessionError",
    "UnconfiguredStreamError",
]


class ActorError(Exception):
    """The root of this package's errors."""

    retriable = False


class ConfigError(ActorError, ValueError):
    """A setting is missing, unknown or out of range; the text names its dotted key and the remedy."""


class LoopStalledError(ActorError, TimeoutError):
    """The stream loop has work and has not polled, stepped or committed for too long: the replica is to be replaced."""

    retriable = True


class LoopFailedError(ActorError, RuntimeError):
    """A thread of the stream loop ended by an error that waiting cannot cure; it is the cause of this one."""


class SessionError(ActorError, RuntimeError):
    """The application could not be brought up on this machine; the text says which part, and the remedy."""


class UnconfiguredStreamError(ActorError, LookupError):
    """No rule says what is to be computed for a stream; its frames become dead letters that say so."""


class EngineLostError(ActorError, RuntimeError):
    """An engine fails on any input, as after a GPU was lost: the replica is at fault, no frame is."""

    retriable = True
