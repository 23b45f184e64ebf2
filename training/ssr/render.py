"""Render what a real-time ray tracer would hand over: a quarter of a sample a pixel, planes, motion, and a reference.

The paper (AAAI-24, "Subpixel Sampling") traces one pixel of each 2x2 tile and shifts it, so that four frames cover all
pixels; rasterized planes come at full resolution. What is assumed here, exactly:

- `radiance`, `mask`, `shadow`: 1/4 sample a pixel. A traced pixel has one path through a random point of it, clamped
  to 20 times white. `shadow` is the visibility of one light sample, tinted by the light, at the traced pixels.
- `albedo`, `normal`: noise-free, the mean of 9 primary rays (as multisampled rasterization gives them); albedo is
  white where nothing is diffuse.
- `depth` (distance along the view axis, 0 = nothing hit), `roughness`, `metallic`, `motion`: at the pixel's centre.
- `transparent`: 1 sample a pixel: albedo of what is seen through or in perfectly specular surfaces, 0 elsewhere.

Radiance is scaled so that the median luminance of the sequence is 0.18: white is 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ssr.metrics import MIDDLE_GREY, luminance
from training.ssr.backend import load_mitsuba
from training.ssr.camera import Camera
from training.ssr.denoise import denoise

__all__ = ["CLAMP_WHITES", "PATTERN", "Renderer"]

CLAMP_WHITES = 20.0
PATTERN = ((0, 0), (1, 1), (1, 0), (0, 1))
"""(x, y) of the traced pixel in its 2x2 tile, by frame modulo 4."""
PLANE_SAMPLES = 9
BLACK = 2e-3
RAYS_AT_ONCE = 450_000
SPECULAR_BOUNCES = 3

Planes = dict[str, NDArray[Any]]
Motions = Mapping[str, NDArray[np.float32]]


class Renderer:
    """One loaded scene. Every array that it gives is float32, [H, W] or [H, W, C], mask uint8."""

    def __init__(self, scene: Any, size_wh: tuple[int, int]) -> None:
        self.mi = load_mitsuba()
        self.size_wh = size_wh
        self.set_scene(scene)

    def set_scene(self, scene: Any) -> None:
        """Swap the scene (an object has moved); everything else stays."""
        self.scene = scene
        self.integrator = scene.integrator() or self.mi.load_dict({"type": "path", "max_depth": 8})
        self.surfaces = _surface_table(self.mi, scene)

    def probe(self, origins: NDArray[np.float32], directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Distances [N] to the first hit, infinite where there is none."""
        hit = self.scene.ray_intersect_preliminary(self._rays(origins, directions), coherent=False)
        return np.array(hit.t, np.float32)

    def exposure(self, camera: Camera) -> float:
        """The factor that brings the median luminance of a view to 0.18 (from a small denoised picture).

        Raises: ValueError if the view is black or empty.
        """
        width, height = self.size_wh
        small = (96, max(2, 96 * height // width // 2 * 2))
        view = Renderer.__new__(Renderer)
        view.__dict__.update(self.__dict__, size_wh=small)
        picture = view.reference(camera, samples=48, clamp=np.inf, seed=1)
        median = float(np.median(luminance(picture)))
        if not median > 1e-6:
            raise ValueError(f"the view's median luminance is {median:g}: nothing lit is seen")
        return MIDDLE_GREY / median

    def frame(
        self, camera: Camera, previous: Camera, index: int, exposure: float, seed: int, motions: Motions | None = None
    ) -> Planes:
        """One frame's planes as in docs/architecture.md. `motions`: shape id -> 4x4, world now to world before."""
        rng = np.random.default_rng((seed, index))
        width, height = self.size_wh
        y, x = (axis.ravel().astype(np.float32) for axis in np.mgrid[:height, :width])
        planes = self._centre_planes(camera, previous, x, y, motions or {})
        planes |= self._averaged_planes(camera, x, y, rng)
        planes["transparent"] = self._transparent(camera, x, y, seed * 4099 + index)
        planes |= self._traced(camera, x, y, index, exposure, rng, seed * 4099 + index)
        return {name: values.reshape(height, width, *values.shape[1:]) for name, values in planes.items()}

    def reference(
        self, camera: Camera, samples: int, clamp: float, seed: int, *, exposure: float = 1.0, prefilter: bool = True
    ) -> NDArray[np.float32]:
        """The mean of `samples` clamped paths a pixel [H, W, 3], then denoised with clean albedo and normals."""
        width, height = self.size_wh
        y, x = (axis.ravel().astype(np.float32) for axis in np.mgrid[:height, :width])
        rng = np.random.default_rng((seed, 77))
        total = np.zeros((width * height, 3), np.float64)
        at_once = max(1, min(samples, RAYS_AT_ONCE // (width * height)))
        at_once = -(-samples // -(-samples // at_once))  # launches of one size share a kernel
        done = 0
        while done < samples:
            count = min(at_once, samples - done)
            jitter = rng.random((2, count, width * height), np.float32)
            film = np.broadcast_to(x, jitter[0].shape) + jitter[0], np.broadcast_to(y, jitter[0].shape) + jitter[1]
            radiance = self._paths(camera, film[0].ravel(), film[1].ravel(), seed * 65537 + done)
            radiance = np.minimum(radiance * exposure, clamp)
            total += radiance.reshape(count, width * height, 3).sum(0)
            done += count
        picture = (total / samples).astype(np.float32).reshape(height, width, 3)
        if not prefilter:
            return picture
        planes = self._averaged_planes(camera, x, y, rng)
        return denoise(picture, *(planes[name].reshape(height, width, 3) for name in ("albedo", "normal")))

    def _rays(self, origins: NDArray[np.float32], directions: NDArray[np.float32]) -> Any:
        mi = self.mi
        return mi.Ray3f(mi.Point3f(*np.ascontiguousarray(origins.T)), mi.Vector3f(*np.ascontiguousarray(directions.T)))

    def _sampler(self, seed: int, count: int) -> Any:
        """The state is evaluated, or its seed would be compiled into the kernels, each frame anew, for seconds."""
        import drjit as dr

        sampler = self.mi.load_dict({"type": "independent"})
        sampler.seed(seed % 2**32, count)
        sampler.schedule_state()
        dr.eval()
        return sampler

    def _camera_rays(self, camera: Camera, film_x: NDArray[np.float32], film_y: NDArray[np.float32]) -> Any:
        directions = camera.rays(film_x, film_y, self.size_wh)
        return self._rays(np.broadcast_to(camera.origin, directions.shape), directions)

    def _paths(self, camera: Camera, film_x: NDArray[np.float32], film_y: NDArray[np.float32], seed: int) -> Any:
        """One path a film position: radiance [N, 3]; what is not finite counts as 0."""
        mi = self.mi
        sampler = self._sampler(seed, len(film_x))
        rays = mi.RayDifferential3f(self._camera_rays(camera, film_x, film_y))
        radiance, _valid, _aovs = self.integrator.sample(self.scene, sampler, rays, None, True)
        values = np.array(radiance, np.float32).T
        return np.maximum(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), 0.0)

    def _centre_planes(
        self, camera: Camera, previous: Camera, x: NDArray[np.float32], y: NDArray[np.float32], motions: Motions
    ) -> Planes:
        mi = self.mi
        hit = self.scene.ray_intersect(self._camera_rays(camera, x + 0.5, y + 0.5))
        found = np.array(hit.is_valid())
        points = np.array(hit.p, np.float32).T
        directions = camera.rays(x + 0.5, y + 0.5, self.size_wh)
        before = np.where(found[:, None], points, directions)
        shapes = np.where(found, np.array(mi.UInt32(_ids(mi, hit.shape))), 0)
        for name, matrix in motions.items():
            moved = found & (shapes == self.surfaces["ids"].get(name, -1))
            before[moved] = points[moved] @ matrix[:3, :3].T + matrix[:3, 3]
        position = previous.project(before, self.size_wh, at_infinity=~found)
        motion = position - np.stack([x + 0.5, y + 0.5], -1)
        depth = np.where(found, (points - camera.origin) @ camera.basis[2], 0.0)
        table = self.surfaces["table"]
        rows = table[np.minimum(shapes, len(table) - 1)] * found[:, None]
        return {
            "motion": np.nan_to_num(motion, nan=1e4).astype(np.float32),
            "depth": depth.astype(np.float32),
            "roughness": rows[:, 0],
            "metallic": rows[:, 1],
        }

    def _averaged_planes(
        self, camera: Camera, x: NDArray[np.float32], y: NDArray[np.float32], rng: np.random.Generator
    ) -> Planes:
        """Albedo and normal, averaged over stratified positions in the pixel."""
        side = int(PLANE_SAMPLES**0.5)
        cell = np.arange(PLANE_SAMPLES, dtype=np.float32)[:, None]
        jitter = rng.random((2, PLANE_SAMPLES, len(x)), np.float32)
        across = x + (cell % side + jitter[0]) / side
        down = y + (cell // side + jitter[1]) / side
        hit = self.scene.ray_intersect(self._camera_rays(camera, across.ravel(), down.ravel()))
        albedo = self._albedo(hit).reshape(PLANE_SAMPLES, len(x), 3).mean(0)
        normal = self._facing_normal(hit).reshape(PLANE_SAMPLES, len(x), 3).mean(0)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        return {"albedo": albedo, "normal": normal / np.maximum(length, 1e-6)}

    def _albedo(self, hit: Any) -> NDArray[np.float32]:
        """Diffuse reflectance; white where there is none (metal, glass, lights, sky), as denoisers want it.

        Black there would make the averages at their outlines dark, and what is divided by them bright.
        """
        mi = self.mi
        bsdf = hit.bsdf()
        coloured = hit.is_valid() & mi.has_flag(bsdf.flags(), mi.BSDFFlags.DiffuseReflection)
        values = np.array(bsdf.eval_diffuse_reflectance(hit, coloured), np.float32).T
        shown = np.array(coloured) & (values.max(1) > BLACK)
        return np.where(shown[:, None], np.clip(np.nan_to_num(values), 0, 1), 1).astype(np.float32)

    def _facing_normal(self, hit: Any) -> NDArray[np.float32]:
        """Shading normals turned to the viewer, 0 where nothing is hit."""
        normal = np.array(hit.sh_frame.n, np.float32).T
        away = np.array(hit.wi.z, np.float32) < 0
        found = np.array(hit.is_valid())
        return np.where(found[:, None], np.where(away[:, None], -normal, normal), 0).astype(np.float32)

    def _transparent(self, camera: Camera, x: NDArray[np.float32], y: NDArray[np.float32], seed: int) -> Any:
        """Follow perfectly specular surfaces by chance, as a path does, to the first other one; its albedo."""
        import drjit as dr

        mi = self.mi
        sampler = self._sampler(seed, len(x))
        hit = self.scene.ray_intersect(self._camera_rays(camera, x + 0.5, y + 0.5))
        result = np.zeros((len(x), 3), np.float32)
        following = hit.is_valid() & self._is_specular(hit)
        weight = mi.Spectrum(1.0)
        for _bounce in range(SPECULAR_BOUNCES):
            # Evaluated at each bounce: one growing kernel would be compiled anew for each number of bounces.
            dr.eval(hit, weight, following, sampler)
            if not np.array(following).any():
                break
            sample, value = hit.bsdf().sample(mi.BSDFContext(), hit, sampler.next_1d(), sampler.next_2d(), following)
            weight = weight * value
            hit = self.scene.ray_intersect(hit.spawn_ray(hit.to_world(sample.wo)), following)
            following &= hit.is_valid()
            dr.eval(hit, weight, following)
            specular = self._is_specular(hit)
            ended = np.array(following & ~specular)
            seen = self._albedo(hit) * np.nan_to_num(np.array(weight, np.float32).T)
            result[ended] = seen[ended]
            following &= specular
        return np.clip(result, 0, 1)

    def _is_specular(self, hit: Any) -> Any:
        mi = self.mi
        bsdf = hit.bsdf()
        flags = bsdf.flags()
        return mi.has_flag(flags, mi.BSDFFlags.Delta) & ~mi.has_flag(flags, mi.BSDFFlags.Smooth)

    def _traced(
        self,
        camera: Camera,
        x: NDArray[np.float32],
        y: NDArray[np.float32],
        index: int,
        exposure: float,
        rng: np.random.Generator,
        seed: int,
    ) -> Planes:
        """Radiance, shadow and mask of the traced pixels; 0 elsewhere."""
        mi = self.mi
        place = PATTERN[index % len(PATTERN)]
        chosen = np.flatnonzero((x % 2 == place[0]) & (y % 2 == place[1]))
        jitter = rng.random((2, len(chosen)), np.float32)
        film_x, film_y = x[chosen] + jitter[0], y[chosen] + jitter[1]
        radiance, shadow = np.zeros((len(x), 3), np.float32), np.zeros((len(x), 3), np.float32)
        radiance[chosen] = np.minimum(self._paths(camera, film_x, film_y, seed) * exposure, CLAMP_WHITES)
        hit = self.scene.ray_intersect(self._camera_rays(camera, film_x, film_y))
        point = rng.random((2, len(chosen)), np.float32)
        light, weight = self.scene.sample_emitter_direction(hit, mi.Point2f(point), True, hit.is_valid())
        colour = np.nan_to_num(np.array(weight, np.float32).T)
        facing = np.array(mi.Float(hit.to_local(light.d).z * hit.wi.z)) > 0
        shadow[chosen] = colour / np.maximum(colour.max(1, keepdims=True), 1e-9) * facing[:, None]
        mask = np.zeros(len(x), np.uint8)
        mask[chosen] = 1
        return {"radiance": radiance, "shadow": np.clip(shadow, 0, 1), "mask": mask}


def _ids(mi: Any, shapes: Any) -> Any:
    import drjit as dr

    return dr.reinterpret_array(mi.UInt32, shapes)


def _surface_table(mi: Any, scene: Any) -> dict[str, Any]:
    """Roughness and metallic by shape, read off the materials' own description; textures count with their mean."""
    ids, rows = {}, {}
    for shape in scene.shapes():
        number = int(np.array(_ids(mi, mi.ShapePtr(shape)))[0])
        ids[shape.id()] = number
        rows[number] = _surface(str(shape.bsdf()), mi.traverse(shape.bsdf()))
    table = np.zeros((max(rows, default=0) + 1, 2), np.float32)
    for number, row in rows.items():
        table[number] = row
    return {"ids": ids, "table": table}


def _surface(description: str, parameters: Any) -> tuple[float, float]:
    """(roughness, metallic) in [0, 1]: roughness is the square root of a microfacet alpha, 1 for diffuse."""
    kind = description.lower()
    metallic = 1.0 if re.search(r"conductor\[", kind) else 0.0
    values: dict[str, float] = {}
    for key in parameters.keys():  # noqa: SIM118 - Mitsuba's own container
        name = re.split(r"\.", key)
        for wanted in ("alpha", "alpha_u", "roughness", "metallic"):
            if wanted in name:
                values[wanted] = float(np.mean(np.array(parameters[key])))
    if "principled" in kind:
        return values.get("roughness", 0.5), values.get("metallic", 0.0)
    alpha = values.get("alpha", values.get("alpha_u"))
    if alpha is not None:
        return min(1.0, max(0.0, alpha)) ** 0.5, metallic
    smooth = metallic or ("dielectric[" in kind) or ("plastic[" in kind)
    return (0.0 if smooth else 1.0), metallic
