"""What the demo leaves in `out/demo/`: annotated videos, reconstructed frames, a contact sheet, summary.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from foveal.annotate import annotate, caption, contact_sheet, side_by_side
from foveal.demo.account import DemoAccount, StreamAccount
from foveal.videofile import VideoFile

__all__ = ["summarize", "write_annotated", "write_renders", "write_sheet", "write_summary"]

Image = NDArray[np.uint8]
SHEET_COLUMNS, SHEET_TILE_WH, SHEET_PICTURES = 4, (480, 360), 4


def write_annotated(
    stream: StreamAccount, frames: Iterable[Image], fps: float, path: Path, advance: Callable[[], None]
) -> list[Image]:
    """Draw each frame with its results into an MP4; returns a few pictures, spread over the clip, for the sheet.

    A frame that was dropped or dead-lettered is shown grey, with the reason.
    """
    wanted = _spread(sorted(stream.people), SHEET_PICTURES)
    kept = []
    with VideoFile(path, fps) as video:
        for seq, frame in enumerate(frames):
            people, expressions = stream.people.get(seq), stream.expressions.get(seq)
            note = stream.drops.get(seq) or stream.deadletters.get(seq) or ""
            if people is None:
                grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
                frame = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
                note = note or "no result"
            latency = f"{stream.latencies_ms[seq]:.0f} ms" if seq in stream.latencies_ms else note
            picture = annotate(frame, people, expressions, title=f"{stream.stream_id} #{seq}", note=latency)
            video.write(picture)
            if seq in wanted:
                kept.append(picture)
            advance()
    return kept


def write_renders(
    stream: StreamAccount,
    inputs: Iterable[tuple[Image, Image | None]],
    fps: float,
    folder: Path,
    advance: Callable[[], None],
) -> list[Image]:
    """Write each reconstructed frame as PNG, and an MP4 of noisy input, ours, and reference where known.

    `inputs` are (noisy, reference) pictures in order; the PNG is what the service sent, byte for byte.
    """
    frames_folder = folder / stream.stream_id
    frames_folder.mkdir(parents=True, exist_ok=True)
    wanted = _spread(sorted(stream.renders), SHEET_PICTURES)
    kept = []
    with VideoFile(folder / f"{stream.stream_id}.mp4", fps, crf=18) as video:
        for seq, (noisy, reference) in enumerate(inputs):
            answered = stream.renders.get(seq)
            ours = np.zeros_like(noisy)
            if answered is None:
                caption(ours, stream.drops.get(seq) or stream.deadletters.get(seq) or "no result")
            else:
                result, payload = answered
                (frames_folder / f"{seq:04d}.{result.content}").write_bytes(payload)
                ours = np.asarray(cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)
            panels = {"input, 1/4 sample per pixel": noisy, "Foveal": ours}
            if reference is not None:
                panels["reference"] = reference
            picture = side_by_side(panels)
            video.write(picture)
            if seq in wanted:
                kept.append(np.vstack([panels["Foveal"], panels["input, 1/4 sample per pixel"]]))
            advance()
    return kept


def write_sheet(pictures: list[Image], path: Path) -> None:
    """One picture of pictures, to see the whole run at a glance."""
    if pictures:
        cv2.imwrite(str(path), contact_sheet(pictures, columns=SHEET_COLUMNS, tile_wh=SHEET_TILE_WH))


def summarize(account: DemoAccount, sources: Mapping[str, str], audit: dict[str, int]) -> dict[str, Any]:
    """The run in figures; latency is from capture to the append of the result, milliseconds."""
    return {
        "streams": {
            stream.stream_id: {
                "source": sources[stream.stream_id],
                "frames_in": stream.frames_in,
                "results": stream.results,
                "drops": len(stream.drops),
                "deadletters": len(stream.deadletters),
                "fps": round(stream.fps(), 2),
                "latency_ms": {"p50": _rounded(stream.latency_ms(50)), "p95": _rounded(stream.latency_ms(95))},
                "identities": sorted(stream.identities),
            }
            for stream in account.streams.values()
        },
        "audit": audit,
    }


def write_summary(summary: dict[str, Any], path: Path) -> None:
    """As JSON, indented."""
    path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _spread(keys: list[int], count: int) -> set[int]:
    if len(keys) <= count:
        return set(keys)
    return {keys[round(at)] for at in np.linspace(len(keys) * 0.1, len(keys) - 1, count)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
