"""Every method on sequences that nothing was trained on: figures by scene, a sheet of pictures, JSON."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.engine import Engine
from models.ssr.history import History
from models.ssr.postprocess import to_bgr8
from models.ssr.reconstructor import Reconstructor
from models.ssr.warp import warp
from training.ssr.baselines import TemporalAccumulation, bilinear, oidn_half
from training.ssr.metrics import psnr_db, smape, ssim, temporal_error
from training.ssr.sequences import load_planes

__all__ = ["evaluate"]

JUDGED_FLOOR_DB = 35.0
FIGURES = ("psnr", "ssim", "smape", "temporal", "ms")
Planes = dict[str, NDArray[Any]]
Method = Callable[[Planes], NDArray[np.float32]]


def evaluate(engine: Engine, folder: Path, sheets: Path | None = None) -> dict[str, Any]:
    """Mean figures of each method over the referenced frames of all sequences in a folder, by scene and over scenes.

    A scene whose two independent references agree to less than 35 dB is reported, but not in the mean.
    Raises: FileNotFoundError if there are no sequences.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise FileNotFoundError(f"{folder}: no sequences; `python -m training.ssr render --test` makes them")
    by_scene: dict[str, Any] = {}
    for file in files:
        stored = load_planes(file)
        floor = psnr_db(*_pair(stored)) if "second" in stored else None
        methods = _sequence(engine, stored, None if sheets is None else sheets / f"{file.stem}.png")
        judged = floor is None or floor >= JUDGED_FLOOR_DB
        by_scene[file.stem] = {"floor_db": floor, "judged": judged, "methods": methods}
    counted = [scene["methods"] for scene in by_scene.values() if scene["judged"]]
    means = {
        method: {figure: round(float(np.mean([scene[method][figure] for scene in counted])), 4) for figure in FIGURES}
        for method in (counted[0] if counted else {})
    }
    return {"methods": means, "scenes": by_scene, "engine": engine.device, "precision": str(engine.precision)}


def _sequence(engine: Engine, stored: Planes, sheet: Path | None) -> dict[str, dict[str, float]]:
    frames = [{name: stored[name][index] for name in stored if name not in _NOT_PLANES} for index in _count(stored)]
    referenced = stored["referenced"].tolist()
    figures: dict[str, dict[str, float]] = {}
    shown: list[NDArray[np.float32]] = []
    for name, start in _methods(engine).items():
        step = start()
        sums: dict[str, list[float]] = defaultdict(list)
        before: NDArray[np.float32] | None = None
        for index, planes in enumerate(frames):
            began = time.perf_counter()
            result = step(planes)
            spent = (time.perf_counter() - began) * 1e3
            if index in referenced:
                reference = stored["reference"][referenced.index(index)].astype(np.float32)
                sums["psnr"].append(psnr_db(result, reference))
                sums["ssim"].append(ssim(result, reference))
                sums["smape"].append(smape(result, reference))
                sums["ms"].append(spent)
                if before is not None:
                    sums["temporal"].append(temporal_error(result, *_warped(before, planes, frames[index - 1])))
            before = result
        figures[name] = {key: round(float(np.mean(sums[key])), 4) if sums[key] else 0.0 for key in FIGURES}
        if before is not None:
            shown.append(before)
    best = max(("oidn_plain", "oidn_demodulated"), key=lambda name: figures[name]["psnr"])
    figures["oidn"] = figures[best]
    if sheet is not None:
        pictures = [frames[-1]["radiance"].astype(np.float32), *shown, stored["reference"][-1].astype(np.float32)]
        sheet.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(sheet), np.hstack([to_bgr8(picture) for picture in pictures]))
    return figures


def _methods(engine: Engine) -> dict[str, Callable[[], Method]]:
    def ours() -> Method:
        reconstructor = Reconstructor(engine)
        history: History | None = None

        def step(planes: Planes) -> NDArray[np.float32]:
            nonlocal history
            [(picture, history)] = reconstructor.reconstruct([planes], [history])
            return picture

        return step

    return {
        "foveal": ours,
        "bilinear": lambda: bilinear,
        "temporal": lambda: TemporalAccumulation().step,
        "oidn_plain": lambda: lambda planes: oidn_half(planes, demodulated=False),
        "oidn_demodulated": lambda: lambda planes: oidn_half(planes, demodulated=True),
    }


def _warped(before: NDArray[np.float32], planes: Planes, planes_before: Planes) -> tuple[Any, Any]:
    """The previous result where this frame sees it, and where depth says that it is the same surface."""
    layers = np.concatenate([np.moveaxis(before, -1, 0), planes_before["depth"][None].astype(np.float32)])
    moved = warp(np.ascontiguousarray(layers, np.float32), planes["motion"].astype(np.float32))
    depth = planes["depth"].astype(np.float32)
    return np.moveaxis(moved[:3], 0, -1), np.abs(moved[3] - depth) < 0.02 * depth


def _pair(stored: Planes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return stored["reference"][0].astype(np.float32), stored["second"].astype(np.float32)


def _count(stored: Planes) -> range:
    return range(len(stored["radiance"]))


_NOT_PLANES = frozenset({"reference", "referenced", "second", "meta"})
