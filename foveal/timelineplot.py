"""The expressions of a clip's faces over time, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.expression import EXPRESSIONS, Reading

__all__ = ["TrackHistory", "plot_timeline"]

MOST_TRACKS = 6
# Okabe and Ito's palette, legible to the colour-blind, in the order EXPRESSIONS.
COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#56B4E9", "#7F7F7F")


@dataclass(slots=True)
class TrackHistory:
    """What was read of one face, frame by frame; a raw reading is None where the face was unreadable."""

    track_id: int
    times_s: list[float] = field(default_factory=list)
    raw: list[Reading | None] = field(default_factory=list)
    smoothed: list[Reading | None] = field(default_factory=list)

    def add(self, time_s: float, raw: Reading, smoothed: Reading | None) -> None:
        """One frame."""
        self.times_s.append(time_s)
        self.raw.append(raw if raw.unreadable is None else None)
        self.smoothed.append(smoothed)


def plot_timeline(
    histories: Sequence[TrackHistory], events: Sequence[Mapping[str, Any]], path: Path, *, title: str
) -> None:
    """A row for each of the longest tracks: smoothed probabilities (raw ones faint), uncertainty, changes by name."""
    # Imported here: it takes a second, and most commands draw nothing.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = sorted(histories, key=lambda one: -len(one.times_s))[:MOST_TRACKS]
    figure = Figure(figsize=(10, 1 + 2.2 * max(1, len(shown))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(max(1, len(shown)), 1, squeeze=False, sharex=True)[:, 0]
    for axis, history in zip(axes, shown, strict=False):
        _draw(axis, history, [event for event in events if event["track_id"] == history.track_id])
    if shown:
        axes[0].legend(ncols=8, fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    else:
        axes[0].text(0.5, 0.5, "no face", ha="center", va="center", transform=axes[0].transAxes)
    axes[-1].set_xlabel("s")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)


def _draw(axis: Any, history: TrackHistory, events: Sequence[Mapping[str, Any]]) -> None:
    times = np.array(history.times_s)
    raw, smoothed = _rows(history.raw), _rows(history.smoothed)
    for column, (name, colour) in enumerate(zip(EXPRESSIONS, COLOURS, strict=True)):
        axis.plot(times, raw[:, column], color=colour, lw=0.6, alpha=0.35)
        axis.plot(times, smoothed[:, column], color=colour, lw=1.8, label=name)
    axis.plot(times, smoothed[:, -1], color="black", lw=0.9, ls=":", label="uncertainty")
    unread = np.isnan(raw[:, 0])
    axis.fill_between(times, 0, 1, where=unread, color="0.88", step="mid", lw=0)
    for event in events:
        axis.axvline(event["at_s"], color="0.3", lw=0.8, ls="--")
        axis.annotate(
            event["to"], (event["at_s"], 0.98), xytext=(3, 0), textcoords="offset points", fontsize=8, va="top"
        )
    axis.set_ylim(0, 1)
    axis.set_ylabel(f"face {history.track_id}", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def _rows(readings: Sequence[Reading | None]) -> np.ndarray:
    nothing = np.full(len(EXPRESSIONS) + 1, np.nan)
    return np.array([nothing if one is None else (*one.probabilities, one.uncertainty) for one in readings])
