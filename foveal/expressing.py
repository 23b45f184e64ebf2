"""Read the expressions of a picture or a clip off line: the networks that serve streams, files in and out."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.config import Privacy
from actors.events import expression_message, rounded_box
from foveal.annotate import annotate
from foveal.media import PICTURE_SUFFIXES, FrameSource, SourceError, SourceFrame, open_source
from foveal.privacy import Veil, faces_and_heads
from foveal.timelineplot import TrackHistory, plot_timeline
from foveal.videofile import VideoFile
from models.detection import FACE, Detections, Detector
from models.expression import CROWD, ExpressionReader, Reading
from models.expression.timeline import Change, ExpressionTimeline
from models.tracking import Tracker, TrackingConfig
from streams.messages import ExpressionsResult, Face

__all__ = ["EVENTS", "FACES", "TIMELINE", "express_file"]

FACES, EVENTS, TIMELINE = "faces.jsonl", "events.jsonl", "timeline.png"
CLIP, PICTURE = "annotated.mp4", "annotated.png"
LEAST_SCORE = 0.35
TRACKING = TrackingConfig(high_score=LEAST_SCORE, new_score=0.4, lost_s=1.0)
DECIMALS = 3
Image = NDArray[np.uint8]


@dataclass(slots=True)
class _Seen:
    """One face of one frame; `smoothed` is None where nothing of its track could be read yet."""

    box_xyxy: tuple[float, float, float, float]
    score: float
    landmarks_xy: NDArray[np.float32]
    track_id: int | None
    raw: Reading
    smoothed: Reading | None

    def line(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "track_id": self.track_id,
            "box_xyxy": self.box_xyxy,
            "score": round(self.score, DECIMALS),
            "raw": _written(self.raw),
            "smoothed": _written(self.smoothed),
            "crowd": _shares(self.raw),
            "unreadable": self.raw.unreadable,
        }

    def message(self, *, marks: bool) -> Face:
        """As it is drawn: the smoothed reading, or why the face cannot be read now; `marks`: with its landmarks."""
        points = tuple((float(x), float(y)) for x, y in self.landmarks_xy) if marks else None
        shown = self.smoothed if self.raw.unreadable is None else None
        return Face(
            box_xyxy=self.box_xyxy,
            score=self.score,
            landmarks_xy=points,  # type: ignore[arg-type]
            track_id=self.track_id,
            expression=None if shown is None else expression_message(shown),
            unreadable=None if shown is not None else self.raw.unreadable or "not read",
        )


@dataclass(slots=True)
class _Tally:
    """What the summary counts."""

    frames: int = 0
    with_face: int = 0
    readable: int = 0
    unreadable: dict[str, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def add(self, faces: list[_Seen]) -> None:
        """One frame."""
        self.frames += 1
        self.with_face += bool(faces)
        for face in faces:
            why = face.raw.unreadable
            self.readable += why is None
            if why is not None:
                self.unreadable[why] = self.unreadable.get(why, 0) + 1


def express_file(
    source: Path,
    out: Path,
    detector: Detector,
    reader: ExpressionReader,
    privacy: Privacy,
    done: Callable[[int, int | None], None],
) -> dict[str, Any]:
    """Write the annotated picture or clip, FACES (a line a frame), and of a clip EVENTS and TIMELINE, into `out`.

    `detector` finds faces from `foveal.privacy.FAINT_SCORE` on: the faint ones may be hidden, never read. `done` gets
    the number of frames read, and of how many where the file declares it. Returns a summary; its `ended_early` says
    what is wrong with a file that breaks off (all that could be read before is written), else None.
    Raises: SourceError where nothing can be read; EngineError.
    """
    if not source.is_file():
        raise SourceError(f"source: expected a picture or a video file, {str(source)!r} is not one")
    if not source.stat().st_size:
        raise SourceError(f"source: {source} is empty")
    frames = open_source(str(source))
    still = source.suffix.lower() in PICTURE_SUFFIXES
    out.mkdir(parents=True, exist_ok=True)
    work = _Work(source.name, detector, reader, privacy, still=still)
    with ExitStack() as stack:
        lines = stack.enter_context((out / FACES).open("w", encoding="utf-8"))
        clip = None if still else stack.enter_context(VideoFile(out / CLIP, frames.fps))
        ended_early = _run(frames, work, lines, lambda picture: _write(picture, clip, out / PICTURE), done)
    if not work.tally.frames:
        raise SourceError(f"source: {source} has no frame that can be read: {ended_early or 'it holds none'}")
    summary: dict[str, Any] = {
        "source": str(source),
        "frames": work.tally.frames,
        "frames_with_a_face": work.tally.with_face,
        "tracks": len(work.histories),
        "readings": work.tally.readable,
        "unreadable": work.tally.unreadable,
        "privacy": privacy,
        "ended_early": ended_early,
    }
    if not still:
        events = "".join(json.dumps(event) + "\n" for event in work.tally.events)
        (out / EVENTS).write_text(events, encoding="utf-8")
        plot_timeline(list(work.histories.values()), work.tally.events, out / TIMELINE, title=source.name)
        summary["events"] = work.tally.events
    return summary


class _Work:
    """What is remembered from frame to frame."""

    def __init__(
        self, name: str, detector: Detector, reader: ExpressionReader, privacy: Privacy, *, still: bool
    ) -> None:
        self.tally = _Tally()
        self.histories: dict[int, TrackHistory] = {}
        self.veil: Veil[tuple[SourceFrame, list[_Seen]]] = Veil(privacy)
        self._name, self._privacy = name, privacy
        self._detector, self._reader = detector, reader
        self._tracker = None if still else Tracker(TRACKING)
        self._timelines: dict[int, ExpressionTimeline] = {}

    def read(self, frame: SourceFrame) -> tuple[list[_Seen], Detections]:
        """The faces of the next frame, and everything that may have to be hidden."""
        [found] = self._detector.detect([frame.image_bgr])
        faces = found.of_class(FACE)
        faces = faces.where(faces.scores >= LEAST_SCORE)
        ids = self._ids(faces, frame.time_s)
        readings = self._reader.read([frame.image_bgr], [faces.boxes_xyxy], [faces.landmarks_xy])
        seen = []
        for row, (raw, track_id) in enumerate(zip(readings, ids, strict=True)):
            smoothed = self._smooth(track_id, frame.time_s, raw)
            box = rounded_box(faces.boxes_xyxy[row])
            seen.append(_Seen(box, float(faces.scores[row]), faces.landmarks_xy[row], track_id, raw, smoothed))
        self.tally.add(seen)
        return seen, faces_and_heads(found)

    def draw(self, image_bgr: Image, frame: SourceFrame, faces: list[_Seen]) -> Image:
        """The frame with what was read of it."""
        height, width = image_bgr.shape[:2]
        result = ExpressionsResult(
            stream_id=self._name,
            seq=frame.index,
            captured_at_ns=0,
            width=width,
            height=height,
            faces=tuple(face.message(marks=self._privacy == "none") for face in faces),
        )
        title = self._name if self._tracker is None else f"{self._name}  {frame.time_s:.2f} s"
        return annotate(image_bgr, None, result, title=title, note="" if faces else "no face")

    def _ids(self, faces: Detections, time_s: float) -> list[int | None]:
        if self._tracker is None:
            return [None] * len(faces)
        return [int(one) if one >= 0 else None for one in self._tracker.update(faces, None, time_s)]

    def _smooth(self, track_id: int | None, time_s: float, raw: Reading) -> Reading | None:
        if track_id is None:
            return raw if raw.unreadable is None else None
        timeline = self._timelines.setdefault(track_id, ExpressionTimeline())
        smoothed, change = timeline.add(time_s, raw)
        self.histories.setdefault(track_id, TrackHistory(track_id)).add(time_s, raw, smoothed)
        if change is not None:
            self.tally.events.append(_event(track_id, change))
        return smoothed


def _run(
    frames: FrameSource,
    work: _Work,
    lines: TextIO,
    write: Callable[[Image], None],
    done: Callable[[int, int | None], None],
) -> str | None:
    """Every frame through the networks, then hidden, then drawn; what is wrong where the file breaks off."""
    ended_early: str | None = None
    reading = iter(frames)
    while True:
        try:
            frame = next(reading, None)
        except SourceError as error:
            ended_early = str(error)
            break
        if frame is None:
            break
        faces, faint = work.read(frame)
        line = {"frame": frame.index, "time_s": round(frame.time_s, DECIMALS), "faces": [face.line() for face in faces]}
        lines.write(json.dumps(line) + "\n")
        for picture, (of, seen) in work.veil.add(frame.time_s, frame.image_bgr, faint, (frame, faces)):
            write(work.draw(picture, of, seen))
        done(work.tally.frames, frames.frames)
    for picture, (of, seen) in work.veil.finish():
        write(work.draw(picture, of, seen))
    if ended_early is None and frames.frames is not None and work.tally.frames < frames.frames:
        ended_early = f"source: declares {frames.frames} frames, {work.tally.frames} could be read; it is cut off"
    return ended_early


def _write(picture: Image, clip: VideoFile | None, path: Path) -> None:
    if clip is not None:
        clip.write(picture)
    else:
        cv2.imwrite(str(path), picture)


def _event(track_id: int, change: Change) -> dict[str, Any]:
    at_s = round(change.at_s, DECIMALS)
    return {"at_s": at_s, "track_id": track_id, "from": change.before, "to": change.after}


def _written(reading: Reading | None) -> dict[str, Any] | None:
    if reading is None or reading.unreadable is not None:
        return None
    return expression_message(reading).model_dump(mode="json")


def _shares(reading: Reading) -> dict[str, float] | None:
    if reading.crowd is None:
        return None
    return {name: round(float(share), DECIMALS) for name, share in zip(CROWD, reading.crowd, strict=True)}
