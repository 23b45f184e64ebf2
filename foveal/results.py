"""Reading results: people, expressions and renders as typed messages, as they are committed."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, Self

from foveal.settings import load_settings
from streams.client import tail
from streams.cloudevents import parse_result
from streams.config import StreamsConfig
from streams.messages import ExpressionsResult, PeopleResult, RenderResult
from streams.records import Origin

__all__ = ["Result", "Results"]

Role = Literal["people", "expressions", "renders"]
Message = PeopleResult | ExpressionsResult | RenderResult
# Ids kept for each partition: a repeated result follows soon after a restart, never days later.
MAX_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Result:
    """One result of one frame.

    `origin` is the input record that it answers; `payload` is the image of a render, else empty;
    `appended_at_ms` is when the broker appended it, milliseconds since 1970 UTC.
    """

    role: Role
    origin: Origin
    message: Message
    payload: bytes
    appended_at_ms: int

    @property
    def stream_id(self) -> str:
        """The stream that the frame belongs to."""
        return self.message.stream_id

    @property
    def latency_ms(self) -> float:
        """From the capture of the frame to the append of its result, milliseconds."""
        return self.appended_at_ms - self.message.captured_at_ns / 1e6


class Results:
    """Committed results in the order of their partitions, each once.

    ```python
    with Results("people", streams="door-*") as results:
        for result in results:
            print(result.message.people)
    ```
    `from_beginning` starts with the oldest kept, else with what comes after opening. A result that is seen twice
    (possible where the service runs at-least-once) is passed over by its CloudEvents id.
    Raises: BrokerUnavailableError within 10 s where nothing answers.
    """

    def __init__(
        self,
        *roles: Role,
        streams: str = "*",
        from_beginning: bool = False,
        config: StreamsConfig | None = None,
    ) -> None:
        self._streams = streams
        self._stop = threading.Event()
        self._seen: dict[tuple[Role, str, int], set[int]] = {}
        self._records = tail(
            config if config is not None else load_settings().streams,
            roles or ("people", "expressions", "renders"),
            stop=self._stop,
            from_beginning=from_beginning,
        )

    def __iter__(self) -> Iterator[Result]:
        for _, record in self._records:
            got = parse_result(record.headers, record.value)
            if fnmatchcase(got.result.stream_id, self._streams) and not self._again(got.role, got.origin):
                yield Result(got.role, got.origin, got.result, got.image or b"", record.appended_at_ms)

    def stop(self) -> None:
        """End the iteration from another thread or a signal handler; it ends within a second."""
        self._stop.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if isinstance(self._records, Generator):
            self._records.close()

    def _again(self, role: Role, origin: Origin) -> bool:
        seen = self._seen.setdefault((role, origin.topic, origin.partition), set())
        if origin.offset in seen:
            return True
        seen.add(origin.offset)
        if len(seen) > MAX_REMEMBERED:
            seen -= set(sorted(seen)[: MAX_REMEMBERED // 2])
        return False
