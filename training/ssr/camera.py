"""A pinhole camera as plain numbers: rays out of it, points into it, and smooth paths that stay in free space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Camera", "NoFreePathError", "free_path"]

LENS_CLEARANCE = 0.008
VIEW_CLEARANCE = 0.08
"""Shares of the median view distance that stay free around the camera, and before 95 % of the view."""
NEARER = 0.7
"""The share of its own clearance that a scene's camera keeps, if that is less."""
PROBE_DIRECTIONS = 64
ATTEMPTS = 60
_GRID = (np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1).reshape(-1, 2).astype(np.float32) + 0.5) / 8

Probe = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""Distances [N] from origins [N, 3] along directions [N, 3]; infinite where nothing is hit."""


class NoFreePathError(RuntimeError):
    """No camera path that stays clear of the scene was found."""


@dataclass(frozen=True)
class Camera:
    """Position, a right-handed frame (x to the right, y down in the image, z forward), horizontal field of view."""

    origin: NDArray[np.float32]
    forward: NDArray[np.float32]
    up: NDArray[np.float32]
    fov_x_deg: float

    @property
    def basis(self) -> NDArray[np.float32]:
        """Rows: right, down, forward; unit vectors in world space."""
        forward = self.forward / np.linalg.norm(self.forward)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward]).astype(np.float32)

    def rays(self, x: NDArray[np.float32], y: NDArray[np.float32], size_wh: tuple[int, int]) -> NDArray[np.float32]:
        """Unit directions [N, 3] through film positions in pixels ((0.5, 0.5) is the first pixel's centre)."""
        width, height = size_wh
        half = np.tan(np.radians(self.fov_x_deg) / 2)
        local = np.stack(
            [(2 * x / width - 1) * half, (2 * y / height - 1) * half * height / width, np.ones_like(x)], axis=-1
        )
        directions = local.astype(np.float32) @ self.basis
        return np.asarray(directions / np.linalg.norm(directions, axis=-1, keepdims=True), np.float32)

    def project(
        self, points: NDArray[np.float32], size_wh: tuple[int, int], *, at_infinity: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Film positions [N, 2] of world points [N, 3]; `at_infinity` marks rows that are directions."""
        width, height = size_wh
        half = np.tan(np.radians(self.fov_x_deg) / 2)
        relative = np.where(at_infinity[:, None], points, points - self.origin)
        local = relative @ self.basis.T
        depth = np.where(local[:, 2] > 1e-6, local[:, 2], np.nan)
        x = (local[:, 0] / depth / half + 1) * width / 2
        y = (local[:, 1] / depth / (half * height / width) + 1) * height / 2
        return np.stack([x, y], axis=-1).astype(np.float32)


def free_path(
    start: Camera, frames: int, probe: Probe, rng: np.random.Generator, *, roam: bool, speed: float = 1.0
) -> list[Camera]:
    """A smooth path of `frames` cameras from the scene's own view, or, with `roam`, from a place that it sees.

    The other is tried where the one has no room. A frame moves by about 0.4 to 1.2 % of the median view distance and
    turns by 0.1 to 0.6 degrees, times `speed`.
    Raises: NoFreePathError.
    """
    for attempt in range(ATTEMPTS):
        view = _moved(start, probe, rng) if roam == (attempt < ATTEMPTS * 2 // 3) else start
        scale = _median_distance(view, probe)
        if not np.isfinite(scale):
            continue
        gentle = 0.5 ** (attempt // 12)  # a camera in a tight corner gets a slower path
        cameras = _sweep(view, frames, scale, rng, speed * gentle)
        clearance = LENS_CLEARANCE * scale
        if view is start:  # a scene's own camera may stand with its back to a wall
            clearance = min(clearance, NEARER * float(probe(*_sphere(start.origin[None])).min()))
        if _is_free(cameras, probe, scale, clearance):
            return cameras
    raise NoFreePathError("no camera path in free space was found; give one with --camera-path")


def _sweep(view: Camera, frames: int, scale: float, rng: np.random.Generator, speed: float) -> list[Camera]:
    right, down, forward = view.basis
    mix = rng.normal(size=3) * (1.0, 0.5, 0.7)
    travel = (mix @ np.stack([right, down, forward])) / np.linalg.norm(mix)
    step = scale * rng.uniform(0.004, 0.012) * speed
    turn = np.radians(rng.uniform(0.1, 0.6)) * speed
    yaw, pitch = turn * rng.choice([-1, 1]), turn * rng.uniform(-0.4, 0.4)
    phase = rng.uniform(0, np.pi)
    cameras = []
    for index in range(frames):
        sway = np.sin(phase + index * 0.06) * 8
        origin = view.origin + travel * step * index
        aim = forward + right * np.tan(yaw * index) + down * np.tan(pitch * sway)
        cameras.append(Camera(origin.astype(np.float32), aim.astype(np.float32), view.up, view.fov_x_deg))
    return cameras


def _moved(start: Camera, probe: Probe, rng: np.random.Generator) -> Camera:
    """Go part of the way towards a point that the camera sees, and look at another one."""
    film = rng.uniform(0.1, 0.9, (2, 2)).astype(np.float32)
    directions = start.rays(film[:, 0], film[:, 1], (1, 1))
    distances = probe(np.repeat(start.origin[None], 2, 0), directions)
    distances = np.where(np.isfinite(distances), distances, _median_distance(start, probe))
    origin = start.origin + directions[0] * distances[0] * rng.uniform(0.0, 0.6)
    target = start.origin + directions[1] * distances[1]
    forward = target - origin
    return Camera(origin.astype(np.float32), forward.astype(np.float32), start.up, float(rng.uniform(45, 80)))


def _median_distance(view: Camera, probe: Probe) -> float:
    directions = view.rays(_GRID[:, 0], _GRID[:, 1], (1, 1))
    distances = probe(np.repeat(view.origin[None], len(_GRID), 0), directions)
    hit = distances[np.isfinite(distances)]
    return float(np.median(hit)) if len(hit) >= 24 else float("inf")


def _sphere(origins: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rays from each origin [N, 3] all around: origins and directions [N * PROBE_DIRECTIONS, 3]."""
    index = np.arange(PROBE_DIRECTIONS) + 0.5
    height = 1 - 2 * index / PROBE_DIRECTIONS
    angle = np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height**2)
    sphere = np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], -1).astype(np.float32)
    return np.repeat(origins, PROBE_DIRECTIONS, 0), np.tile(sphere, (len(origins), 1))


def _is_free(cameras: Sequence[Camera], probe: Probe, scale: float, clearance: float) -> bool:
    """No surface at the lens, none close before it in the view, none between one place and the next."""
    checked = [cameras[0], cameras[len(cameras) // 2], cameras[-1]]
    origins = np.stack([camera.origin for camera in checked])
    if probe(*_sphere(origins)).min() < clearance:
        return False
    for camera in checked:
        ahead = probe(np.repeat(camera.origin[None], len(_GRID), 0), camera.rays(_GRID[:, 0], _GRID[:, 1], (1, 1)))
        if np.percentile(ahead, 5) < VIEW_CLEARANCE * scale:
            return False
    legs = np.diff(origins, axis=0)
    lengths = np.maximum(np.linalg.norm(legs, axis=1), 1e-9)
    clear = probe(origins[:-1], (legs / lengths[:, None]).astype(np.float32))
    return bool((clear > lengths * 1.2).all())
