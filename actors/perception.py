"""`foveal.frames` -> people with their identities, and faces with their expressions: one batch over all streams."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from actors.config import PerceptionConfig, StreamRule
from actors.deadline import Deadline, wall_ms
from actors.decoding import DecodedFrame, FrameDecoder
from actors.endings import Endings, isolate
from actors.errors import EngineLostError, UnconfiguredStreamError
from actors.events import NO_GALLERY, UNAVAILABLE, FaceSeen, PersonSeen, frame_results, rounded_box
from actors.following import Following
from actors.makeup import MissedMatches
from actors.metrics import LoopStats
from actors.quality import too_small
from actors.sightings import SightingsWriter
from actors.streamstate import StreamStates
from actors.unknown import UnknownPeople
from gallery.errors import GalleryError, UnknownGalleryError
from gallery.index import GalleryIndex
from gallery.schema import Match, Sighting
from models.detection import FACE, PERSON, Detections
from models.tracking import Split
from streams.messages import DropReason
from streams.records import FrameRecord

if TYPE_CHECKING:
    from models.detection.finder import Finder
    from models.expression import ExpressionReader
    from models.reid import Embedder

__all__ = ["DetectedFrame", "PerceptionNetworks", "PerceptionStep"]

logger = logging.getLogger(__name__)

PROBE_BGR = np.full((360, 640, 3), 114, np.uint8)
WARN_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class PerceptionNetworks:
    """The networks of one replica, warm. `epoch` is the embedder's name and version, as galleries know it."""

    detector: Finder
    embedder: Embedder
    expressions: ExpressionReader
    epoch: str


@dataclass(slots=True)
class DetectedFrame:
    """One frame on its way through the networks; boxes in pixels of the whole frame."""

    frame: DecodedFrame
    people: list[PersonSeen] = field(default_factory=list)
    faces: list[FaceSeen] = field(default_factory=list)
    splits: tuple[Split, ...] = ()


class PerceptionStep:
    """What `actors.loop.StreamLoop` does with frames. See there for the threads."""

    def __init__(
        self,
        config: PerceptionConfig,
        networks: PerceptionNetworks,
        index: GalleryIndex,
        stats: LoopStats,
        sightings: SightingsWriter | None = None,
        missed: MissedMatches | None = None,
        unknown: UnknownPeople | None = None,
    ) -> None:
        self._config = config
        self._networks = networks
        self._index = index
        self._stats = stats
        self._sightings = sightings
        self._missed = missed
        self._unknown = unknown
        self._deadline = Deadline(self._rule)
        self._decoder = FrameDecoder(config.loop.decode_threads, config.loop.stream_idle_s, networks.detector.long_side)
        self._followed = StreamStates(lambda _: Following(config), config.loop.stream_idle_s)
        self._warned_s = -WARN_EVERY_S

    def prepare(self, frames: Sequence[FrameRecord], endings: Endings) -> list[DetectedFrame] | None:
        """Decide, decode and detect: stale frames, frames of streams that nobody configured, and bad ones end here.

        Detecting is in this half so that both take about as long: where frames come one at a time, the next one's
        people are found while this one's are identified.
        """
        wanted = self._configured(frames, endings)
        late = {id(frame) for frame in self._deadline.split(wanted).stale}
        numbered = [(frame, self._rule(frame.stream_id)) for frame in wanted]
        stale = frozenset(index for index, frame in enumerate(wanted) if id(frame) in late)
        now_ms = wall_ms()
        fresh: list[DecodedFrame] = []
        for frame, decoded in zip(wanted, self._decoder.decode(numbered, stale), strict=True):
            if isinstance(decoded, DropReason):
                endings.drop(frame, decoded, now_ms)
            elif isinstance(decoded, Exception):
                endings.bury(frame, decoded)
            else:
                fresh.append(decoded)
        return (self._detect(fresh, endings) or None) if fresh else None

    def infer(self, prepared: list[DetectedFrame], endings: Endings) -> None:
        """Embed, track, match, read: each network sees the frames of all streams in one batch."""
        self._stats.batch(len(prepared))
        self._find_steady(prepared)
        sightings = self._embed(prepared, endings)
        sightings = self._track(sightings, endings)
        sightings = self._embed(sightings, endings)  # who seemed steady, and was tracked as another
        self._match(sightings)
        sightings = self._express(sightings, endings)
        for sighting in sightings:
            frame, record = sighting.frame, sighting.frame.record
            if "people" in frame.rule.compute:
                _link_faces(sighting)
            changes = self._following(record).smooth(frame, sighting.faces) if sighting.faces else []
            results = frame_results(record, frame.rule, sighting.people, sighting.faces, sighting.splits, changes)
            endings.result(record, results)
            self._note(sighting)

    def forget_prepared(self, places: Sequence[tuple[str, int]]) -> None:
        """Let go of the decoders of partitions that went elsewhere, and of silent streams."""
        self._decoder.forget(places)

    def forget_inferred(self, places: Sequence[tuple[str, int]]) -> None:
        """The same for the trackers."""
        if places:
            self._followed.drop_partitions(places)
        self._followed.expire()

    def close(self) -> None:
        """Let go of all streams."""
        self._decoder.close()
        self._followed.close()

    @property
    def streams(self) -> int:
        """Streams that are remembered."""
        return max(len(self._decoder), len(self._followed))

    @property
    def waiting_for(self) -> str | None:
        """ "redis" while matches say `unavailable`."""
        asked = any("identities" in rule.compute for rule in self._config.streams)
        return "redis" if asked and not self._index.available else None

    def _rule(self, stream_id: str) -> StreamRule:
        rule = self._config.rule(stream_id)
        if rule is None:
            raise UnconfiguredStreamError(
                f"perception.streams: expected a rule that matches the stream {stream_id!r}, got none; "
                'add one, or a last one with match: "*"'
            )
        return rule

    def _configured(self, frames: Sequence[FrameRecord], endings: Endings) -> list[FrameRecord]:
        wanted: list[FrameRecord] = []
        for frame in frames:
            try:
                self._rule(frame.stream_id)
            except UnconfiguredStreamError as error:
                endings.bury(frame, error)
            else:
                wanted.append(frame)
        return wanted

    def _detect(self, frames: list[DecodedFrame], endings: Endings) -> list[DetectedFrame]:
        detector = self._networks.detector

        def detect(some: Sequence[DecodedFrame]) -> list[Detections]:
            return detector.detect([one.image_bgr for one in some], [one.size_wh for one in some])

        began_s = time.perf_counter()
        found = isolate(detect, frames)
        self._stats.stage("detect", time.perf_counter() - began_s)
        if all(isinstance(one, Exception) for one in found):
            self._probe(found)
        kept: list[DetectedFrame] = []
        for frame, detections in zip(frames, found, strict=True):
            if isinstance(detections, Exception):
                endings.bury(frame.record, detections)
            else:
                kept.append(_sighting(frame, detections))
        return kept

    def _probe(self, found: Sequence[object]) -> None:
        """Every frame failed: is it the frames, or has the engine gone? Frames must not be condemned for the latter."""
        try:
            self._networks.detector.detect([PROBE_BGR], [(PROBE_BGR.shape[1], PROBE_BGR.shape[0])])
        except Exception as error:
            raise EngineLostError(
                f"the detector fails on a blank frame too: {type(error).__name__}: {error}; "
                "the replica is replaced, and its frames are taken again"
            ) from error
        logger.warning("a batch of %d frames failed as a whole: %s", len(found), found[0])

    def _track(self, sightings: list[DetectedFrame], endings: Endings) -> list[DetectedFrame]:
        began_s = time.perf_counter()
        kept: list[DetectedFrame] = []
        for sighting in sightings:
            record = sighting.frame.record
            followed = self._following(record)
            try:
                if "people" in sighting.frame.rule.compute:
                    sighting.splits = followed.follow(sighting.frame, sighting.people)
                else:
                    followed.follow_faces(sighting.frame, sighting.faces)
            except Exception as error:  # noqa: BLE001 the tracker's own failure; its state may be half changed
                self._followed.reset(record.stream_id)
                endings.bury(record, error)
                continue
            kept.append(sighting)
        self._stats.stage("track", time.perf_counter() - began_s)
        return kept

    def _following(self, record: FrameRecord) -> Following:
        return self._followed.of(record.stream_id, (record.origin.topic, record.origin.partition))

    def _find_steady(self, sightings: Sequence[DetectedFrame]) -> None:
        for one in sightings:
            if "identities" in one.frame.rule.compute:
                self._following(one.frame.record).find_steady(one.frame, _readable(one))

    def _embed(self, sightings: list[DetectedFrame], endings: Endings) -> list[DetectedFrame]:
        asked = [one for one in sightings if "identities" in one.frame.rule.compute and _unembedded(one)]
        if not asked:
            return sightings

        def embed(some: Sequence[DetectedFrame]) -> list[NDArray[np.float32]]:
            boxes = [_scaled([person.box_xyxy for person in _unembedded(one)], one.frame) for one in some]
            vectors = self._networks.embedder.embed([one.frame.image_bgr for one in some], boxes)
            return np.split(vectors, np.cumsum([len(each) for each in boxes])[:-1])

        began_s = time.perf_counter()
        found = isolate(embed, asked)
        failed: set[int] = set()
        for one, vectors in zip(asked, found, strict=True):
            if isinstance(vectors, Exception):
                endings.bury(one.frame.record, vectors)
                failed.add(id(one))
                continue
            for person, vector in zip(_unembedded(one), vectors, strict=True):
                person.embedding, person.fresh = vector, True
        self._stats.stage("embed", time.perf_counter() - began_s)
        return [one for one in sightings if id(one) not in failed]

    def _match(self, sightings: Sequence[DetectedFrame]) -> None:
        began_s = time.perf_counter()
        by_gallery: dict[str, list[tuple[PersonSeen, NDArray[np.float32]]]] = {}
        for one in sightings:
            for person in one.people:
                if (looks := person.looks) is not None:
                    by_gallery.setdefault(one.frame.rule.gallery, []).append((person, looks))
        for gallery, pairs in by_gallery.items():
            matches = self._look_up(np.stack([vector for _, vector in pairs]), gallery)
            for (person, _), match in zip(pairs, matches, strict=True):
                person.match = match
        if by_gallery:
            self._stats.stage("match", time.perf_counter() - began_s)

    def _look_up(self, embeddings: NDArray[np.float32], gallery: str) -> Sequence[Match | None]:
        try:
            return self._index.match(embeddings, gallery, epoch=self._networks.epoch)
        except UnknownGalleryError as error:
            self._warn(error)
            return [NO_GALLERY] * len(embeddings)
        except GalleryError as error:
            self._warn(error)
            return [UNAVAILABLE] * len(embeddings)

    def _express(self, sightings: list[DetectedFrame], endings: Endings) -> list[DetectedFrame]:
        asked = [one for one in sightings if one.faces]
        if not asked:
            return sightings

        def read(some: Sequence[DetectedFrame]) -> list[list[FaceSeen]]:
            boxes = [_scaled([face.box_xyxy for face in one.faces], one.frame) for one in some]
            points = [_scaled([face.landmarks_xy for face in one.faces], one.frame) for one in some]
            readings = iter(self._networks.expressions.read([one.frame.image_bgr for one in some], boxes, points))
            for one in some:
                for face in one.faces:
                    face.reading = next(readings)
            return [one.faces for one in some]

        began_s = time.perf_counter()
        found = isolate(read, asked)
        self._stats.stage("express", time.perf_counter() - began_s)
        failed: set[int] = set()
        for one, faces in zip(asked, found, strict=True):
            if isinstance(faces, Exception):
                endings.bury(one.frame.record, faces)
                failed.add(id(one))
        return [one for one in sightings if id(one) not in failed]

    def _note(self, sighting: DetectedFrame) -> None:
        """Who is known is seen, who is not may be remembered; whom the gallery could not be asked about, later."""
        record, gallery = sighting.frame.record, sighting.frame.rule.gallery
        for number, person in enumerate(sighting.people):
            match, looks = person.match, person.looks
            if match is None or person.embedding is None or looks is None:
                continue
            seen = Sighting(
                event_id=f"{record.origin}#{number}",
                identity_id=match.identity_id or match.provisional or "",
                stream_id=record.stream_id,
                seen_at_ms=record.appended_at_ms,
                score=match.score,
                track_id=person.track_id,
                box_xyxy=rounded_box(person.box_xyxy),
            )
            if match.status == "unavailable":
                if self._missed is not None:
                    self._missed.add(gallery, looks, seen)
            elif seen.identity_id and self._sightings is not None:
                self._sightings.add(gallery, seen)
            if match.status == "unknown" and person.fresh and self._unknown is not None:
                self._unknown.add(
                    gallery,
                    person.embedding,
                    seen,
                    sighting.frame.image_bgr,
                    sighting.frame.reduce,
                    may_keep_crop=sighting.frame.rule.privacy == "none",
                )

    def _warn(self, error: Exception) -> None:
        if time.monotonic() - self._warned_s >= WARN_EVERY_S:
            self._warned_s = time.monotonic()
            logger.warning("identities are not matched: %s", error)


def _sighting(frame: DecodedFrame, detections: Detections) -> DetectedFrame:
    """Tell people from faces, cut to the frame; what has no area inside it is left out."""
    width, height = frame.size_wh
    boxes = np.clip(detections.boxes_xyxy, 0, np.array([width, height, width, height], np.float32))
    inside = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1)
    sighting = DetectedFrame(frame)
    for row in np.flatnonzero(inside):
        score = float(min(1.0, max(0.0, detections.scores[row])))
        kind = int(detections.classes[row])
        if kind == PERSON and "people" in frame.rule.compute:
            left, top, right, bottom = (float(edge) / frame.reduce for edge in boxes[row])
            small = too_small((left, top, right, bottom), (frame.image_bgr.shape[1], frame.image_bgr.shape[0]))
            unreadable = "too small" if small and "identities" in frame.rule.compute else None
            sighting.people.append(PersonSeen(boxes[row], score, unreadable=unreadable))
        elif kind == FACE and "expressions" in frame.rule.compute:
            sighting.faces.append(FaceSeen(boxes[row], score, detections.landmarks_xy[row]))
    return sighting


def _readable(sighting: DetectedFrame) -> list[PersonSeen]:
    return [person for person in sighting.people if person.unreadable is None]


def _unembedded(sighting: DetectedFrame) -> list[PersonSeen]:
    return [person for person in _readable(sighting) if person.embedding is None and person.before is None]


def _scaled(places: list[NDArray[np.float32]], frame: DecodedFrame) -> NDArray[np.float32]:
    """Pixels of the whole frame -> pixels of the picture in hand."""
    return np.stack(places) / np.float32(frame.reduce)


def _link_faces(sighting: DetectedFrame) -> None:
    """A face belongs to the person whose box holds its middle; of several to the one whose top is nearest to it."""
    for face in sighting.faces:
        x, y = (face.box_xyxy[:2] + face.box_xyxy[2:]) / 2
        around = [
            person
            for person in sighting.people
            if person.box_xyxy[0] <= x <= person.box_xyxy[2] and person.box_xyxy[1] <= y <= person.box_xyxy[3]
        ]
        if around:
            face.track_id = min(around, key=lambda person: abs(float(person.box_xyxy[1] - face.box_xyxy[1]))).track_id
