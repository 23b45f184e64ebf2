"""Every method on sequences that nothing was trained on, by one protocol: figures by scene, tables, sheets of pictures.

Protocol: sRGB-encoded images of radiance clamped to [0, 1], each sequence scaled so that the median luminance of its
references is 0.18; frames 8 and later; path samples clamped to 20 times white in input and reference (`render`). A
scene whose two independent references agree to less than 35 dB is shown, but not in the mean.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engine import Engine
from models.errors import ModelError
from models.ssr.history import History
from models.ssr.metrics import FIGURES, figures, protocol_exposure, psnr_db
from models.ssr.reconstructor import Reconstructor
from training.ssr.baselines import AccumulatedOidn, TemporalAccumulation, bilinear, oidn_half, oidn_one_sample
from training.ssr.frames import Frame, read_frames
from training.ssr.perceived import flip
from training.ssr.sheet import write_sheet

__all__ = ["FIRST_JUDGED", "METHODS", "NoSequencesError", "evaluate", "sequences_in"]

FIRST_JUDGED = 8
JUDGED_FLOOR_DB = 35.0
METHODS = ("foveal", "bilinear", "temporal", "oidn", "oidn_1spp")
OIDN_WAYS = ("oidn_half", "oidn_half_demodulated", "oidn_accumulated")
"""How OIDN is fed at 1/4 sample: `oidn` is the one with the best PSNR, by sequence."""

PICTURED = {"oidn": "Open Image Denoise", "foveal": "Foveal"}
"""What stands between input and reference in a picture for a page, and its caption."""

Picture = NDArray[np.float32]
Method = Callable[[Frame], Picture]


class NoSequencesError(ModelError, ValueError):
    """A folder has no sequence that can be judged."""


@dataclass(frozen=True)
class Judged:
    """What one method made of a sequence: its means, and the picture of the last frame."""

    means: dict[str, float]
    picture: Picture


def evaluate(engine: Engine, folder: Path, sheets: Path | None = None) -> dict[str, Any]:
    """Mean figures of METHODS over the judged frames, by scene and over scenes; `ms` is the time of a frame.

    `left_out` names the sequences without references, and why. Into `sheets` go, for each other one, a sheet of all
    methods (.png) and a picture of input, OIDN, ours and reference (.jpg).
    Raises: NoSequencesError if none can be judged, FrameFileError.
    """
    scenes: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for sequence in sequences_in(folder):
        try:
            scenes[sequence.name] = _sequence(engine, sequence, sheets)
        except NoSequencesError as error:
            left_out[sequence.name] = str(error)
    if not scenes:
        raise NoSequencesError("; ".join(left_out.values()))
    counted = [scene["methods"] for scene in scenes.values() if scene["judged"]]
    means = {}
    for method in METHODS:
        rows = [scene[method] for scene in counted if method in scene]
        means[method] = (
            {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]} if rows else {}
        )
    of = {"device": engine.device, "precision": str(engine.precision)}
    return {"methods": means, "scenes": scenes, "left_out": left_out, **of}


def sequences_in(folder: Path) -> list[Path]:
    """The folder itself if it has frames, else those in it that have. Raises: NoSequencesError."""
    if any(folder.glob("*.exr")):
        return [folder]
    found = sorted(inner for inner in folder.glob("*") if inner.is_dir() and any(inner.glob("*.exr")))
    if not found:
        raise NoSequencesError(
            f"{folder}: no sequences; `python -m training.ssr render --test` renders ours, `foveal render` others"
        )
    return found


def _sequence(engine: Engine, folder: Path, sheets: Path | None) -> dict[str, Any]:
    frames = list(read_frames(folder))
    judged = [index for index, frame in enumerate(frames) if index >= FIRST_JUDGED and "reference" in frame.extras]
    if not judged:
        raise NoSequencesError(
            f"{folder}: no frame from the {FIRST_JUDGED + 1}th on has a reference; render it with "
            f"`foveal render ... --frames {FIRST_JUDGED + 4} --reference-spp 256`"
        )
    scale = np.float32(
        protocol_exposure([frame.extras["reference"] for frame in frames if "reference" in frame.extras])
    )
    found = {name: _judge(start(), frames, judged, scale) for name, start in _methods(engine, frames).items()}
    best = max(OIDN_WAYS, key=lambda name: found[name].means["psnr"])
    found["oidn"] = found[best]
    last = frames[judged[-1]]
    reference = last.extras["reference"] * scale
    if sheets is not None:
        noisy = last.planes["radiance"].astype(np.float32) * scale
        shown = {name: found[name].picture for name in METHODS if name in found}
        write_sheet(sheets / f"{folder.name}.png", noisy, shown, reference)
        chosen = {title: shown[name] for name, title in PICTURED.items()}
        write_sheet(sheets / f"{folder.name}.jpg", noisy, chosen, reference, errors=False)
    floor = _floor(frames, scale)
    return {
        "floor_db": None if floor is None else round(floor, 2),
        "judged": floor is None or floor >= JUDGED_FLOOR_DB,
        "frames": len(judged),
        "oidn_way": best,
        "methods": {name: judgement.means for name, judgement in found.items()},
    }


def _judge(step: Method, frames: list[Frame], judged: list[int], scale: np.float32) -> Judged:
    sums: dict[str, list[float]] = defaultdict(list)
    before: Picture | None = None
    picture = np.zeros(0, np.float32)
    for index, frame in enumerate(frames):
        began = time.perf_counter()
        result = step(frame)
        spent_ms = (time.perf_counter() - began) * 1e3
        result = result * scale
        if index in judged:
            row = figures(result, frame.extras["reference"] * scale, before, frame.planes, frames[index - 1].planes)
            row["flip"] = flip(result, frame.extras["reference"] * scale)
            for name, value in {**row, "ms": spent_ms}.items():
                sums[name].append(value)
            picture = result
        before = result
    return Judged({name: round(float(np.mean(sums[name])), 4) for name in (*FIGURES, "flip", "ms")}, picture)


def _methods(engine: Engine, frames: list[Frame]) -> dict[str, Callable[[], Method]]:
    """Each gives a function that takes the frames in order."""
    methods: dict[str, Callable[[], Method]] = {
        "foveal": lambda: _ours(engine),
        "bilinear": lambda: lambda frame: bilinear(frame.planes),
        "temporal": lambda: _of_planes(TemporalAccumulation().step),
        "oidn_half": lambda: lambda frame: oidn_half(frame.planes, demodulated=False),
        "oidn_half_demodulated": lambda: lambda frame: oidn_half(frame.planes, demodulated=True),
        "oidn_accumulated": lambda: _of_planes(AccumulatedOidn().step),
    }
    if all("radiance_1spp" in frame.extras for frame in frames):
        methods["oidn_1spp"] = lambda: lambda frame: oidn_one_sample(frame.extras["radiance_1spp"], frame.planes)
    return methods


def _of_planes(step: Callable[[dict[str, NDArray[Any]]], Picture]) -> Method:
    return lambda frame: step(frame.planes)


def _ours(engine: Engine) -> Method:
    reconstructor = Reconstructor(engine)
    history: History | None = None

    def step(frame: Frame) -> Picture:
        nonlocal history
        [(picture, history)] = reconstructor.reconstruct([frame.planes], [history])
        return picture

    return step


def _floor(frames: list[Frame], scale: np.float32) -> float | None:
    """To how many dB two independent references agree."""
    pairs: Iterator[tuple[Picture, Picture]] = (
        (frame.extras["reference"], frame.extras["reference_again"])
        for frame in frames
        if {"reference", "reference_again"} <= frame.extras.keys()
    )
    found = [psnr_db(first * scale, second * scale) for first, second in pairs]
    return float(np.mean(found)) if found else None
