"""The demo's players and its audience: each input is sent at its own rate, every result and outcome is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from foveal.demo.account import DemoAccount, StreamAccount
from foveal.producers import FrameProducer, GBufferProducer, OnDelivery
from foveal.results import Results
from streams.client import tail
from streams.config import StreamsConfig
from streams.messages import Outcome

__all__ = ["DemoInput", "Stage"]


@dataclass(frozen=True)
class DemoInput:
    """One stream of the demo: a fresh iterator of its frames at each call, and its own frame rate."""

    stream_id: str
    title: str
    source: str  # the file, or who rendered it
    kind: str  # "frames" or "gbuffers"
    fps: float
    frames: Callable[[], Iterator[Any]]  # uint8 [H, W, 3] BGR, or a mapping of planes
    exposure: float | None = None  # of a G-buffer's render; None: by itself
    start_s: float = 0.0  # after the others


class Stage:
    """Plays all inputs at once and listens until every frame has its outcome.

    Raises (from `play`): what a player or listener met first.
    """

    def __init__(self, inputs: list[DemoInput], config: StreamsConfig) -> None:
        self._inputs = inputs
        self._config = config
        topics = {"frames": config.topics.frames.name, "gbuffers": config.topics.gbuffers.name}
        self.account = DemoAccount([StreamAccount(one.stream_id, topics[one.kind]) for one in inputs])
        self._stop = threading.Event()
        self._errors: list[BaseException] = []

    def play(self, tick: Callable[[], None], *, settle_s: float) -> bool:
        """Play to the end, calling `tick` a few times a second; whether all was settled in time."""
        results = Results("people", "expressions", "renders", from_beginning=True, config=self._config)
        listeners = [self._thread(self._hear_results, results), self._thread(self._hear_outcomes)]
        players = [self._thread(self._play, one) for one in self._inputs]
        try:
            while any(player.is_alive() for player in players):
                self._beat(tick)
            deadline = time.monotonic() + settle_s
            while not (settled := self.account.settled()) and time.monotonic() < deadline:
                self._beat(tick)
            tick()
            return settled
        finally:
            self._stop.set()
            results.stop()
            for thread in (*players, *listeners):
                thread.join(timeout=10)

    def _beat(self, tick: Callable[[], None]) -> None:
        if self._errors:
            raise self._errors[0]
        tick()
        time.sleep(0.1)

    def _thread(self, work: Callable[..., None], *args: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*args)
            except BaseException as error:  # noqa: BLE001 - raised again by `play` on the caller's thread
                self._errors.append(error)

        thread = threading.Thread(target=run, name=f"demo-{work.__name__.strip('_')}", daemon=True)
        thread.start()
        return thread

    def _play(self, one: DemoInput) -> None:
        stream = self.account.streams[one.stream_id]

        def delivered(seq: int, partition: int, offset: int) -> None:
            self.account.delivered(one.stream_id, seq, partition, offset)

        with _sender(one, self._config, delivered) as send:
            started = time.monotonic() + one.start_s
            for index, frame in enumerate(one.frames()):
                if self._stop.wait(max(0.0, started + index / one.fps - time.monotonic())):
                    break
                send(frame)
                stream.frames_in += 1

    def _hear_results(self, results: Results) -> None:
        with results:
            for result in results:
                self.account.add_result(result)

    def _hear_outcomes(self) -> None:
        for _, record in tail(self._config, ("outcomes",), stop=self._stop, from_beginning=True):
            self.account.add_outcome(Outcome.model_validate_json(record.value or b""))


@contextmanager
def _sender(one: DemoInput, config: StreamsConfig, delivered: OnDelivery) -> Iterator[Callable[[Any], object]]:
    """What sends one frame of this input."""
    if one.kind == "frames":
        with FrameProducer(one.stream_id, config=config, on_delivery=delivered) as frames:
            yield frames.send
        return
    with GBufferProducer(one.stream_id, config=config, on_delivery=delivered) as gbuffers:
        yield lambda planes: gbuffers.send(planes, scene=one.title, exposure=one.exposure)
