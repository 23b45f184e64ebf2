"""Exit codes of every command, and which error means which."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit", "exit_code_of"]


OURS = frozenset({"foveal", "actors", "streams", "models", "gallery", "training", "deploy"})


class Exit(IntEnum):
    """0 done, 1 the check failed (audit, doctor, verify), 2 bad usage or setting, 3 a service cannot be reached."""

    DONE = 0
    CHECK_FAILED = 1
    USAGE = 2
    UNREACHABLE = 3


def exit_code_of(error: BaseException) -> Exit | None:
    """The exit code of an error from this project's own error trees; None for anything that is a defect."""
    ours = type(error).__module__.split(".")[0] in OURS
    if not ours:
        return None
    if isinstance(error, ConnectionError | TimeoutError) or getattr(error, "retriable", False):
        return Exit.UNREACHABLE
    return Exit.USAGE if isinstance(error, ValueError | OSError | LookupError) else Exit.CHECK_FAILED
