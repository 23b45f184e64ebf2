"""Keeping copies of galleries in step with Redis: load all, then read the change log, on a thread of its own.

The log's lines are numbered without gaps (`gallery/scripts.py`), so a trimmed log, a lost write or a gallery made
anew is noticed by its number or generation, and the gallery is loaded again. A line says only which identity changed;
the identity is then read as it stands, which makes every line safe to apply twice.
"""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gallery.canaries import Canaries, look_up
from gallery.config import GalleryConfig
from gallery.connection import connect, named_errors
from gallery.errors import GalleryError, UnknownGalleryError
from gallery.keys import REGISTER, GalleryKeys
from gallery.replicas import Reporter
from gallery.schema import GalleryInfo
from gallery.scores import ScoreWindow
from gallery.search import IdentityTable
from gallery.snapshot import LoadedIdentity, load_gallery, load_identities, read_info

__all__ = ["FollowState", "Follower", "Replica"]

FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.05, 1.0
LINES_AT_A_TIME = 1_000
START_OF_LOG = "0-0"

FollowState = Literal["waiting", "syncing", "live", "stopped", "failed"]
log = logging.getLogger(__name__)


@dataclass
class Replica:
    """A gallery as this process knows it; `lock` guards every field."""

    info: GalleryInfo
    table: IdentityTable
    seq: int
    last_id: str
    corrupt: dict[str, str] = field(default_factory=dict)
    """Fault by Redis key of the vectors that cannot be read."""
    other_epoch: set[str] = field(default_factory=set)
    """Redis keys of vectors of another model epoch, which are never compared."""
    scores: ScoreWindow = field(default_factory=ScoreWindow)
    """The best scores of late matches."""
    reference: tuple[int, ...] | None = None
    """The scores that these are compared with: the first ones after the last calibration, of any replica."""
    canaries: Canaries = field(default_factory=Canaries)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def describe(self) -> dict[str, Any]:
        """For `gallery/replicas.py`."""
        with self.lock:
            return {
                "identities": len(self.table),
                "vectors": self.table.vectors,
                "corrupt": len(self.corrupt),
                "matches": self.scores.added,
                "canaries": self.canaries.looked_up,
                "canary_failures": self.canaries.failed,
            }

    def put(self, identity: LoadedIdentity) -> None:
        """Set one identity to what was read."""
        self.forget(identity.identity_id)
        usable = []
        for vector in identity.vectors:
            if vector.embedding is not None and vector.polarity is not None and vector.epoch == self.info.epoch:
                usable.append((vector.polarity, vector.embedding))
                continue
            key = GalleryKeys(self.info.name).vector(identity.identity_id, vector.number)
            if vector.fault is not None or vector.polarity is None:
                self.corrupt[key] = vector.fault or f"{key}: unreadable"
                log.warning("skipped a corrupt vector: %s", self.corrupt[key])
            else:
                self.other_epoch.add(key)
        self.table.put(identity.identity_id, identity.name, usable)

    def forget(self, identity_id: str) -> None:
        """Drop one identity with its faults."""
        self.table.remove(identity_id)
        if not self.corrupt and not self.other_epoch:
            return
        of_it = GalleryKeys(self.info.name).vector(identity_id, 0)[:-1]
        for key in [k for k in self.corrupt if k.startswith(of_it)]:
            del self.corrupt[key]
        self.other_epoch -= {k for k in self.other_epoch if k.startswith(of_it)}


class _OutOfStepError(Exception):
    """The log does not continue where this copy stands."""


class Follower(threading.Thread):
    """Fills and maintains `replicas`, by gallery name; read them without a lock, their fields under `Replica.lock`."""

    def __init__(self, config: GalleryConfig, galleries: Sequence[str] | None, epoch: str | None = None) -> None:
        super().__init__(name="gallery-follower", daemon=True)
        self.replicas: dict[str, Replica] = {}
        self.state: FollowState = "waiting"
        self.error: GalleryError | Exception | None = None
        self.resyncs = 0
        self.answered_at_s: float | None = None
        """`time.monotonic()` of the server's last answer."""
        self.synced = threading.Event()
        """Set once every gallery was loaded for the first time."""
        self._config = config
        self._epoch = epoch
        self._only = None if galleries is None else [GalleryKeys(g).gallery for g in galleries]
        self._stopping = threading.Event()
        self._reporter = Reporter()
        self._canaries_at_s = time.monotonic()

    def stop(self, timeout_s: float) -> None:
        """Ask it to end and wait for it."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout_s)

    def run(self) -> None:
        backoff_s, said = FIRST_BACKOFF_S, ""
        try:
            while not self._stopping.is_set():
                began_s = time.monotonic()
                try:
                    self._follow()
                except GalleryError as error:
                    if str(error) != said:
                        log.warning("galleries are out of reach, trying on: %s", error)
                    self.state, self.error, said = "waiting", error, str(error)
                    lasted = time.monotonic() - began_s > 10 * LAST_BACKOFF_S
                    backoff_s = FIRST_BACKOFF_S if lasted else min(2 * backoff_s, LAST_BACKOFF_S)
                    self._stopping.wait(backoff_s)
            self.state = "stopped"
        except Exception as error:
            self.state, self.error = "failed", error  # health says so; matches become `unavailable`
            log.exception("the follower of the galleries failed")

    def _follow(self) -> None:
        """One connection's life. Raises: GalleryError when it ends."""
        with named_errors(self._config):
            client = connect(self._config)
            try:
                fresh = True
                while not self._stopping.is_set():
                    self._compare(client, reload=fresh)
                    if fresh:
                        log.info("galleries are in step: %s", ", ".join(self.replicas) or "none yet")
                    fresh, self.state, self.error = False, "live", None
                    self.synced.set()
                    self._look_after(client)
                    self._wait(client)
            finally:
                client.close()

    def _compare(self, client: Any, *, reload: bool) -> None:
        """Look at every gallery's `meta`: load what is new, drop what is gone, catch up with what is behind."""
        if reload:
            self.state = "syncing"
        names = self._only if self._only is not None else sorted(n.decode() for n in client.smembers(REGISTER))
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.hmget(GalleryKeys(name).meta, "generation", "seq")
        found = {n: (g.decode(), int(s)) for n, (g, s) in zip(names, pipe.execute(), strict=True) if g and s}
        self._answered()
        for name in set(self.replicas) - set(found):
            del self.replicas[name]
        for name, (generation, seq) in found.items():
            replica = self.replicas.get(name)
            if reload or replica is None or replica.info.generation != generation or replica.seq > seq:
                self._load(client, name)
            elif replica.seq < seq:
                self._read(client, [name], block_ms=None)
                if (replica := self.replicas.get(name)) is not None and replica.seq < seq:
                    self._load(client, name)  # the log was trimmed beyond where this copy stands

    def _look_after(self, client: Any) -> None:
        """Say how the copies stand, and at intervals look some identities up in them."""
        due = self._reporter.due()
        for name, replica in list(self.replicas.items()):
            self._reporter.report(client, name, replica.info.generation, replica, due=due)
            replica.table.prepare()  # without the lock: rows change on this thread only
        if time.monotonic() - self._canaries_at_s > self._config.canaries_every_s:
            self._canaries_at_s = time.monotonic()
            for replica in list(self.replicas.values()):
                look_up(client, replica)

    def _wait(self, client: Any) -> None:
        """Until the next line of any log, for one heartbeat at most."""
        if self._config.cluster or not self.replicas:
            self._stopping.wait(self._config.heartbeat_s)  # one XREAD cannot wait on keys of several slots
            return
        self._read(client, list(self.replicas), block_ms=max(1, round(self._config.heartbeat_s * 1000)))

    def _read(self, client: Any, names: list[str], *, block_ms: int | None) -> None:
        logs = {GalleryKeys(n).log: self.replicas[n].last_id for n in names}
        reply = client.xread(logs, count=LINES_AT_A_TIME, block=block_ms)
        self._answered()
        by_log = {GalleryKeys(n).log.encode(): n for n in names}
        for log_key, lines in reply:
            name = by_log[log_key]
            try:
                self._apply(client, self.replicas[name], lines)
            except _OutOfStepError:
                self._load(client, name)

    def _apply(self, client: Any, replica: Replica, lines: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> None:
        touched: dict[str, None] = {}
        info, seq, last_id = replica.info, replica.seq, replica.last_id
        for line_id, fields in lines:
            number, generation, op = fields.get(b"seq", b""), fields.get(b"generation", b""), fields.get(b"op")
            if generation.decode() == info.generation and number.isdigit() and int(number) <= seq:
                last_id = line_id.decode()  # was in what was loaded
                continue
            if number != str(seq + 1).encode() or generation.decode() != info.generation:
                raise _OutOfStepError
            seq, last_id = seq + 1, line_id.decode()
            if op == b"drop":
                self.replicas.pop(info.name, None)
                return
            touched |= dict.fromkeys(fields.get(b"identity", b"").decode().split())
        try:
            info = read_info(client, info.name, epoch=self._epoch)
        except UnknownGalleryError:
            self.replicas.pop(info.name, None)
            return
        if info.epoch != replica.info.epoch:
            raise _OutOfStepError  # embedded anew by another network: a copy is of one network only
        found = {i.identity_id: i for i in load_identities(client, info, list(touched), brief=True)}
        self._answered()
        with replica.lock:
            for identity_id in touched:
                if (identity := found.get(identity_id)) is not None:
                    replica.put(identity)
                else:
                    replica.forget(identity_id)
            replica.info, replica.seq, replica.last_id = info, seq, last_id

    def _load(self, client: Any, name: str) -> None:
        """Load a gallery whole. The log's end is read first, so that what changes meanwhile is applied after."""
        end = client.xrevrange(GalleryKeys(name).log, count=1)
        try:
            info = read_info(client, name, epoch=self._epoch)
        except UnknownGalleryError:
            self.replicas.pop(name, None)
            return
        last_id, seq = START_OF_LOG, info.seq
        if end and end[0][1].get(b"generation", b"").decode() == info.generation:
            last_id, seq = end[0][0].decode(), int(end[0][1][b"seq"])
        replica = Replica(info, IdentityTable(info.dimension, info.identities), seq, last_id)
        before = self.replicas.get(name)
        if before is not None and (before.info.generation, before.info.epoch) == (info.generation, info.epoch):
            replica.scores, replica.reference, replica.canaries = before.scores, before.reference, before.canaries
        for identity in load_gallery(client, info, brief=True):
            replica.put(identity)
            self._answered()
        replica.table.prepare()
        self._answered()
        self.replicas[name] = replica
        self.resyncs += 1

    def _answered(self) -> None:
        self.answered_at_s = time.monotonic()
