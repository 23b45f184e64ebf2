"""The results as JSON, as a Markdown table and as a plot, in `benchmarks/results/<version>/`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency import AIMED_LOAD

__all__ = ["markdown", "write_report"]

SERVICE, BARE, AIM, WIDTH = "#2563eb", "#94a3b8", "#dc2626", 0.38


def write_report(folder: Path, report: dict[str, Any]) -> list[Path]:
    """Write service.json, table.md and plot.png; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("service.json", "table.md", "plot.png")]
    paths[0].write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    paths[1].write_text(markdown(report), encoding="utf-8")
    _plot(report, paths[2])
    return paths


def markdown(report: dict[str, Any]) -> str:
    """The table, with what it was measured on."""
    machine, footage = report["machine"], report["footage"]
    lines = ["| measured | result | spread | aim |", "|---|---|---|---|"]
    for row in report.get("throughput", []):
        fps = f"{_middle(row['service_fps']):.1f} frames/s"
        lines.append(
            f"| end to end, {_streams(row['streams'])}, share of the bare loop | **{row['ratio']:.2f}** ({fps}) "
            f"| {row['ratio_least']:.2f} to {row['ratio_most']:.2f} | {row['target']} |"
        )
    for row in report.get("latency", []):
        added, aim = row["added_ms"], row["target_ms"]
        what = f"append to append at {row['load']:.0%} load ({row['fps']:.0f} frames/s), beyond the bare loop"
        asked = f"p50 {aim['p50']:g}, p95 {aim['p95']:g}" if row["load"] == AIMED_LOAD else ""
        lines.append(
            f"| {what} | **p50 {added['p50']:.1f} ms, p95 {added['p95']:.1f} ms** "
            f"| p5 {added['p5']:.1f}, p99 {added['p99']:.1f} | {asked} |"
        )
    if "memory" in report:
        row = report["memory"]
        sizes = [one["rss_mib"] for one in row["samples"]]
        what = f"a replica's memory, stream {row['from_streams']} to {row['streams']} that came and went"
        lines.append(
            f"| {what} | **{row['growth']:+.1%}** | {min(sizes):.0f} to {max(sizes):.0f} MiB | ±{row['target']:.0%} |"
        )
    lines.append("")
    note = "a smoke run, not to be quoted; " if report["quick"] else ""
    lines.append(
        f"{note}{footage['title']}, JPEG; {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB; load before {machine['load_before'][0]}; `{report['command']}`"
    )
    return "\n".join(lines) + "\n"


def _streams(count: int) -> str:
    return f"{count} stream" if count == 1 else f"{count} streams"


def _middle(values: list[float]) -> float:
    return float(np.median(values))


def _plot(report: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawings: dict[str, Callable[[Any, Any], None]] = {
        "throughput": _draw_throughput,
        "latency": _draw_latency,
        "memory": _draw_memory,
    }
    present = [name for name in drawings if name in report]
    figure, axes = plt.subplots(1, len(present), figsize=(4.2 * len(present), 3.4), squeeze=False, layout="constrained")
    for name, axis in zip(present, axes[0], strict=True):
        drawings[name](axis, report[name])
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9)
    machine = report["machine"]
    figure.suptitle(
        f"foveal {report['version']}, {machine['processor'].split(' (')[0]}, {machine['cores']} cores", fontsize=9
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_throughput(axis: Any, rows: list[dict[str, Any]]) -> None:
    at = np.arange(len(rows))
    bare = [_middle([turn[row["bare_best"]] for turn in row["bare_fps"]]) for row in rows]
    service = [_middle(row["service_fps"]) for row in rows]
    axis.bar(at - WIDTH / 2, bare, WIDTH, color=BARE, label="bare loop")
    axis.bar(at + WIDTH / 2, service, WIDTH, color=SERVICE, label="service")
    for place, fps, row in zip(at, service, rows, strict=True):
        axis.annotate(f"{row['ratio']:.2f}", (place + WIDTH / 2, fps), ha="center", va="bottom", fontsize=9)
    axis.set_xticks(at, [_streams(row["streams"]) for row in rows])
    axis.set_ylim(0, max(bare + service) * 1.3)
    axis.set_title("frames/s end to end, 720p JPEG", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)


def _draw_latency(axis: Any, rows: list[dict[str, Any]]) -> None:
    for row, shade in zip(rows, np.linspace(0.35, 1, len(rows)), strict=True):
        samples = np.array(row["samples_ms"])
        axis.plot(
            samples,
            np.linspace(0, 100, len(samples)),
            color=SERVICE,
            alpha=shade,
            lw=2,
            label=f"{row['load']:.0%} load",
        )
    for share, aim in ((50, row["target_ms"]["p50"]), (95, row["target_ms"]["p95"])):
        axis.plot([aim], [share], marker="<", color=AIM, ms=7, ls="none")
        axis.annotate(
            f"aim: p{share} {aim:g} ms",
            (aim, share),
            xytext=(8, -14),
            textcoords="offset points",
            fontsize=8,
            color=AIM,
        )
    axis.set_xlim(min(0.0, samples[0]), max(2 * row["target_ms"]["p95"], float(np.percentile(samples, 97))))
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    axis.set_xlabel("ms beyond the bare loop", fontsize=9)
    axis.set_ylabel("% of frames", fontsize=9)
    axis.set_title("added latency", fontsize=10)


def _draw_memory(axis: Any, row: dict[str, Any]) -> None:
    streams = [one["streams"] for one in row["samples"]]
    base = next(one["rss_mib"] for one in row["samples"] if one["streams"] == row["from_streams"])
    axis.axhspan(base * (1 - row["target"]), base * (1 + row["target"]), color=BARE, alpha=0.3, lw=0)
    axis.plot(streams, [one["rss_mib"] for one in row["samples"]], color=SERVICE, lw=2)
    axis.set_ylim(0, base * 1.3)
    axis.set_xlabel("streams that came and went", fontsize=9)
    axis.set_title(f"memory of a replica, MiB (band: ±{row['target']:.0%})", fontsize=10)
