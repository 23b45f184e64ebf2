"""The peer of every figure: the same decode, networks and tracking, in one process, with no Kafka and no Ray.

It is `actors.perception.PerceptionStep`, the very code of a replica, called in a plain loop. It runs in a process of
its own, so that neither Ray's nor Kafka's threads are in it.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from actors.config import AppConfig
from actors.endings import Endings
from actors.metrics import LoopStats
from actors.networks import load_perception
from actors.perception import PerceptionStep
from benchmarks.footage import FRAME_NS, Footage
from gallery.index import GalleryIndex
from streams.batchwriter import check_size
from streams.headers import FrameCodec, SentFrameHeaders, encode
from streams.intake import Intake
from streams.records import FrameRecord, Origin, RawRecord

__all__ = ["BareLoop", "running_bare_loop"]

START_TIMEOUT_S = 180.0
ANSWER_TIMEOUT_S = 180.0


class BareLoop:
    """The step of a replica in a loop; see `running_bare_loop` for the one in a process of its own."""

    def __init__(self, config: AppConfig, footage: Footage) -> None:
        self._config = config.perception
        self._streams = config.streams
        self._footage = footage
        self._index = GalleryIndex(config.gallery)
        self._index.start()
        self._index.wait_until_synced(10.0)
        self._step = PerceptionStep(self._config, load_perception(config), self._index, LoopStats())
        self._offset = 0
        self._seqs: dict[str, int] = {}

    def rate(self, streams: int, frames: int) -> dict[str, float]:
        """Frames a second over `streams` streams in full batches: one step after the other, and decoding beside it."""
        return {"sequential": self._sequential(streams, frames), "overlapped": self._overlapped(streams, frames)}

    def ones(self, repeats: int) -> list[float]:
        """Milliseconds of each frame of the footage alone, the median of `repeats`."""
        times: list[list[float]] = [[] for _ in self._footage.jpegs]
        for _ in range(repeats):
            for picture, mine in zip(self._footage.jpegs, times, strict=True):
                batch = self._batch(["bare-one"], [picture])
                began = time.perf_counter()
                self._work(batch)
                mine.append(1e3 * (time.perf_counter() - began))
        return [statistics.median(mine) for mine in times]

    def close(self) -> None:
        """Give everything back."""
        self._step.close()
        self._index.stop()

    def _sequential(self, streams: int, frames: int) -> float:
        batches = self._batches(streams, frames)
        began = time.perf_counter()
        for batch in batches:
            self._work(batch)
        return sum(map(len, batches)) / (time.perf_counter() - began)

    def _overlapped(self, streams: int, frames: int) -> float:
        batches = self._batches(streams, frames)
        began = time.perf_counter()
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self._prepare, batches[0])
            for following in [*batches[1:], None]:
                endings, prepared = coming.result()
                if following is not None:
                    coming = pool.submit(self._prepare, following)
                self._step.infer(prepared, endings)
        return sum(map(len, batches)) / (time.perf_counter() - began)

    def _work(self, batch: Sequence[FrameRecord]) -> None:
        endings, prepared = self._prepare(batch)
        self._step.infer(prepared, endings)

    def _prepare(self, batch: Sequence[FrameRecord]) -> tuple[Endings, Any]:
        endings = Endings(lambda result: check_size(self._streams, result))
        prepared = self._step.prepare(batch, endings)
        if prepared is None or len(prepared) != len(batch):
            raise RuntimeError("the bare loop lost frames: expected each of the footage to be decoded")
        return endings, prepared

    def _batches(self, streams: int, frames: int) -> list[list[FrameRecord]]:
        names = [f"bare-{streams}-{index}" for index in range(streams)]
        pictures = [self._footage.picture(index, streams) for index in range(frames)]
        size = self._config.loop.max_batch_frames
        return [self._batch(names, pictures[at : at + size]) for at in range(0, frames, size)]

    def _batch(self, names: Sequence[str], pictures: Sequence[bytes]) -> list[FrameRecord]:
        intake = Intake.for_frames()
        raws = [self._raw(names[index % len(names)], picture) for index, picture in enumerate(pictures)]
        found, dead = intake.accept(raws)
        if dead:
            raise RuntimeError(f"the bare loop's own frames are refused: {dead[0].message}")
        return found

    def _raw(self, stream_id: str, picture: bytes) -> RawRecord:
        seq = self._seqs.get(stream_id, 0)
        self._seqs[stream_id] = seq + 1
        self._offset += 1
        headers = SentFrameHeaders(
            codec=FrameCodec.JPEG,
            seq=seq,
            captured_at_ns=seq * FRAME_NS,
            width=self._footage.width,
            height=self._footage.height,
        )
        return RawRecord(
            origin=Origin("bare", 0, self._offset),
            key=stream_id.encode(),
            headers=tuple(encode(headers)),
            value=picture,
            appended_at_ms=time.time_ns() // 1_000_000,
        )


class RemoteBareLoop:
    """The same calls, answered by the other process. Raises: RuntimeError with what it met."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def rate(self, streams: int, frames: int) -> dict[str, float]:
        """As `BareLoop.rate`."""
        found: dict[str, float] = self._ask("rate", streams, frames)
        return found

    def ones(self, repeats: int) -> list[float]:
        """As `BareLoop.ones`."""
        found: list[float] = self._ask("ones", repeats)
        return found

    def wait(self) -> None:
        """Until it is warm."""
        self._answer(START_TIMEOUT_S)

    def _ask(self, name: str, *arguments: int) -> Any:
        self._pipe.send((name, *arguments))
        return self._answer(ANSWER_TIMEOUT_S)

    def _answer(self, timeout_s: float) -> Any:
        if not self._pipe.poll(timeout_s):
            raise RuntimeError(f"the bare loop did not answer within {timeout_s:g} s")
        kind, value = self._pipe.recv()
        if kind == "error":
            raise RuntimeError(f"the bare loop failed: {value}")
        return value


@contextmanager
def running_bare_loop(config: AppConfig, footage: Footage) -> Iterator[RemoteBareLoop]:
    """A bare loop in a process of its own, warm."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=_serve, args=(its, config, footage), daemon=True)
    process.start()
    its.close()
    try:
        remote = RemoteBareLoop(mine)
        remote.wait()
        yield remote
    finally:
        mine.close()  # ends it
        process.join(10.0)
        if process.is_alive():
            process.kill()


def _serve(pipe: Connection, config: AppConfig, footage: Footage) -> None:
    try:
        loop = BareLoop(config, footage)
        pipe.send(("ready", None))
    except Exception as error:  # noqa: BLE001 - told to the process that asked
        pipe.send(("error", repr(error)))
        return
    while True:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            break
        try:
            pipe.send(("answer", getattr(loop, name)(*arguments)))
        except Exception as error:  # noqa: BLE001 - as above
            pipe.send(("error", repr(error)))
    loop.close()
