"""Sequences on disk: one .npz a sequence, frames of planes in half floats, references of the last frames.

A scene is loaded once for several sequences; one that is there already is left alone, so that a stopped run goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.ssr.camera import Camera, NoFreePathError, free_path
from training.ssr.procedural import ProceduralScene
from training.ssr.render import CLAMP_WHITES, Motions, Renderer
from training.ssr.scenes import load_scene, scene_file

__all__ = ["PLANES", "RenderPlan", "load_planes", "render_procedural", "render_scene"]

PLANES = ("radiance", "mask", "albedo", "normal", "shadow", "transparent", "depth", "metallic", "roughness", "motion")


@dataclass(frozen=True)
class RenderPlan:
    """How many frames, of what size, and which of them get a reference of how many samples a pixel."""

    size_wh: tuple[int, int] = (160, 160)
    frames: int = 20
    referenced: tuple[int, ...] = (17, 18, 19)
    reference_spp: int = 32
    speed: float = 1.5


def render_scene(name: str, seeds: Sequence[int], plan: RenderPlan, work: Path, out: Path) -> Iterator[Path]:
    """Sequences of a public scene; even seeds from the scene's own view, odd ones from somewhere that it sees."""
    targets = [(seed, out / f"{name}-{seed:03d}.npz") for seed in seeds]
    if all(target.exists() for _seed, target in targets):
        return
    scene, start = load_scene(scene_file(name, work), plan.size_wh)
    renderer = Renderer(scene, plan.size_wh)
    for seed, target in targets:
        if target.exists():
            continue
        rng = np.random.default_rng((seed, *name.encode()))
        try:
            path = free_path(start, plan.frames, renderer.probe, rng, roam=seed % 2 == 1, speed=plan.speed)
            exposure = renderer.exposure(path[len(path) // 2])
        except (NoFreePathError, ValueError) as error:
            print(f"{target.stem}: left out, {error}", flush=True)
            continue
        _write(renderer, path, exposure, seed, plan, target, None)
        yield target


def render_procedural(seeds: Sequence[int], plan: RenderPlan, out: Path, *, paths: int = 3) -> Iterator[Path]:
    """Sequences of the rooms that seeds describe, several paths in each, since a room's kernels are compiled once."""
    for seed in seeds:
        targets = [out / f"room-{seed:05d}-{index}.npz" for index in range(paths)]
        if all(target.exists() for target in targets):
            continue
        room = ProceduralScene(seed)
        renderer = Renderer(room.load(0), plan.size_wh)
        start = room.camera()
        for index, target in enumerate(targets):
            if target.exists():
                continue
            rng = np.random.default_rng((seed, index, 5))
            try:
                path = free_path(start, plan.frames, renderer.probe, rng, roam=index > 0, speed=plan.speed)
                exposure = renderer.exposure(path[len(path) // 2])
            except (NoFreePathError, ValueError) as error:
                print(f"{target.stem}: left out, {error}", flush=True)
                continue
            _write(renderer, path, exposure, seed * 10 + index, plan, target, room)
            yield target


def load_planes(file: Path) -> dict[str, NDArray[Any]]:
    """Planes [T, H, W, ...] half floats, `reference` [R, H, W, 3], `referenced` [R]."""
    with np.load(file) as stored:
        return {name: stored[name] for name in stored.files}


def _write(
    renderer: Renderer,
    path: Sequence[Camera],
    exposure: float,
    seed: int,
    plan: RenderPlan,
    target: Path,
    room: ProceduralScene | None,
) -> None:
    started = time.monotonic()
    stacks: dict[str, list[NDArray[Any]]] = {name: [] for name in PLANES}
    references = []
    for index, camera in enumerate(path):
        motions: Motions | None = None
        if room is not None and room.moves:
            renderer.set_scene(room.load(index))
            motions = room.motions(index)
        planes = renderer.frame(camera, path[max(index - 1, 0)], index, exposure, seed, motions)
        for name in PLANES:
            kind = np.uint8 if name == "mask" else np.float16
            stacks[name].append(np.clip(planes[name], -6e4, 6e4).astype(kind))
        if index in plan.referenced:
            settings = {"samples": plan.reference_spp, "clamp": CLAMP_WHITES, "exposure": exposure}
            references.append(renderer.reference(camera, seed=seed * 101 + index, **settings).astype(np.float16))
    target.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.stack(values) for name, values in stacks.items()}
    meta = {"exposure": exposure, "seed": seed, "seconds": round(time.monotonic() - started, 1)}
    partial = target.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(
            file,
            **arrays,
            reference=np.stack(references),
            referenced=np.array(plan.referenced),
            meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
        )
    partial.replace(target)
    print(f"{target.stem}: {meta['seconds']} s", flush=True)
