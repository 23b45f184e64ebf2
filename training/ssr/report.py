"""The evaluation's figures as CSV, a row a scene and method, and as Markdown for the card."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

__all__ = ["write_report"]

COLUMNS = ("psnr", "ssim", "smape", "temporal", "flip", "ms")
DIGITS = {"psnr": 2, "ssim": 3, "smape": 3, "temporal": 4, "flip": 3, "ms": 1}


def write_report(result: dict[str, Any], out: Path) -> str:
    """Write results.csv and results.md into `out`; returns the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "results.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["scene", "floor_db", "judged", "method", *COLUMNS])
        for scene, found in result["scenes"].items():
            for method, row in found["methods"].items():
                table.writerow([scene, found["floor_db"], found["judged"], method, *(row[name] for name in COLUMNS)])
    text = _markdown(result)
    (out / "results.md").write_text(text + "\n", encoding="utf-8")
    return text


def _markdown(result: dict[str, Any]) -> str:
    scenes = result["scenes"]
    names = list(scenes)
    by_scene = " | ".join(f"{name} dB" for name in names)
    lines = [
        f"| method | PSNR dB | SSIM | SMAPE | temporal error | FLIP | ms a frame | {by_scene} |",
        f"|---{'|---' * (6 + len(names))}|",
    ]
    for method, means in result["methods"].items():
        cells = [_cell(means, name) for name in COLUMNS]
        cells += [_cell(scenes[name]["methods"].get(method, {}), "psnr") for name in names]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    lines.append("")
    for name, found in scenes.items():
        floor = "not known" if found["floor_db"] is None else f"{found['floor_db']:.1f} dB"
        left_out = "" if found["judged"] else ", so it is not in the means"
        lines.append(
            f"- {name}: two independent references agree to {floor}{left_out}; {found['frames']} frames judged; "
            f"the best way of OIDN: {found['oidn_way']}."
        )
    lines += [f"- {name}: left out. {why}" for name, why in result["left_out"].items()]
    lines.append(f"- Engine: {result['device']}, {result['precision']}.")
    return "\n".join(lines)


def _cell(row: dict[str, float], name: str) -> str:
    return f"{row[name]:.{DIGITS[name]}f}" if name in row else ""
