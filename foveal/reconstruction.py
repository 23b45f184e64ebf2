"""Reconstruct a folder of rendered frames off line: the network that the stream has, files in and out."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from actors.tonecurve import AutoExposure, to_display
from models.engine import Engine
from models.ssr import History, PlanesError, Reconstructor
from models.ssr.metrics import FIGURES, figures, protocol_exposure
from streams.exr import encode_exr_image
from training.ssr.frames import Frame, FrameFileError, read_frames, read_references

__all__ = ["TABLE", "reconstruct_folder"]

TABLE = "frames.csv"
COLUMNS = ("frame", "history_frames", "ms", *FIGURES)


def reconstruct_folder(
    folder: Path, out: Path, engine: Engine, *, exposure: float | None = None, done: Callable[[int], None]
) -> dict[str, Any]:
    """Write NAME.exr (linear) and NAME.png of every frame, and TABLE with FIGURES where a frame has a reference.

    exposure: of the PNGs; None: where there are references, what brings their median luminance to 0.18, as the figures
    have it; else it follows the pictures as in a stream. done: gets the number of frames that are written.
    Returns the number of frames, the exposure (None where it follows), milliseconds and the means of FIGURES.
    Raises: FrameFileError naming the file; EngineError.
    """
    if out.resolve() == folder.resolve():
        raise FrameFileError(f"{out}: is the folder of the input, whose files it would overwrite; give another --out")
    references = [picture for picture in read_references(folder) if picture is not None]
    scale = protocol_exposure(references)
    shown = exposure if exposure is not None else (scale if references else None)
    del references
    followed = AutoExposure()
    reconstructor = Reconstructor(engine)
    rows: list[dict[str, float]] = []
    last: tuple[Frame, NDArray[np.float32], History] | None = None
    with _table(out) as write_row:
        for frame in read_frames(folder):
            before = last if last is not None and frame.follows(last[0]) else None
            try:
                if last is None:
                    reconstructor.reconstruct([frame.planes], [None])  # the first of a size builds an engine for it
                began = time.perf_counter()
                [(linear, history)] = reconstructor.reconstruct([frame.planes], [before and before[2]])
            except PlanesError as error:
                raise FrameFileError(f"{folder / frame.name}: {error}") from error
            row: dict[str, float] = {"ms": (time.perf_counter() - began) * 1e3}
            if history.history_frames == 1:
                before = None
                followed.reset()
            if "reference" in frame.extras:
                row |= figures(
                    linear * np.float32(scale),
                    frame.extras["reference"] * np.float32(scale),
                    None if before is None else before[1] * np.float32(scale),
                    frame.planes,
                    None if before is None else before[0].planes,
                )
            (out / f"{frame.name}.exr").write_bytes(encode_exr_image(linear))
            factor = followed.follow(linear) if shown is None else shown
            cv2.imwrite(str(out / f"{frame.name}.png"), to_display(linear, factor))
            write_row({"frame": frame.name, "history_frames": history.history_frames - 1, **row})
            rows.append(row)
            last = frame, linear, history
            done(len(rows))
    means = {
        name: round(float(np.mean([row[name] for row in rows if name in row])), 4)
        for name in ("ms", *FIGURES)
        if any(name in row for row in rows)
    }
    return {"frames": len(rows), "exposure": shown, **means}


@contextmanager
def _table(out: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Rows go to the file as they come: what a stopped run wrote stays."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / TABLE).open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()

        def write_row(row: dict[str, Any]) -> None:
            table.writerow({name: round(v, 5) if isinstance(v, float) else v for name, v in row.items()})
            file.flush()

        yield write_row
