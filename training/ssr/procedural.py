"""Endless rooms: a seed describes walls, furniture of primitives, varied materials, lights, and objects that move."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.ssr.backend import load_mitsuba
from training.ssr.camera import Camera

__all__ = ["ProceduralScene"]

TEXTURE_SIDE = 256


class ProceduralScene:
    """A room (two in three) or an open place under the sky, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng((seed, 31))
        self.mi = load_mitsuba()
        self.size = self.rng.uniform((5.0, 5.0, 2.6), (9.0, 9.0, 4.2))
        self.indoors = bool(self.rng.random() < 0.7)
        self.scene: dict[str, Any] = {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": 7, "rr_depth": 4},
        }
        self.moving: dict[str, tuple[NDArray[np.float64], float, dict[str, Any], NDArray[np.float64]]] = {}
        self.moves_allowed = bool(self.rng.random() < 0.35)
        self._shell()
        self._lights()
        for index in range(int(self.rng.integers(6, 15))):
            self._object(index)

    @property
    def moves(self) -> bool:
        """Whether any object moves."""
        return bool(self.moving)

    def load(self, index: int) -> Any:
        """The Mitsuba scene at a frame."""
        scene = dict(self.scene)
        for name, (velocity, spin, shape, place) in self.moving.items():
            matrix = self._pose(place, velocity, spin, index) @ shape["matrix"]
            scene[name] = {**shape["dict"], "to_world": self.mi.ScalarTransform4f(matrix)}
        return self.mi.load_dict(scene, parallel=False)  # the same order of shapes: the same kernels

    def motions(self, index: int) -> dict[str, NDArray[np.float32]]:
        """For each moving shape, the matrix from where a point is now to where it was a frame before."""
        before = max(index - 1, 0)
        return {
            name: (
                self._pose(place, velocity, spin, before) @ np.linalg.inv(self._pose(place, velocity, spin, index))
            ).astype(np.float32)
            for name, (velocity, spin, _shape, place) in self.moving.items()
        }

    def camera(self) -> Camera:
        """A view from near one wall into the room."""
        width, length, height = self.size
        origin = np.array([width * self.rng.uniform(-0.35, 0.35), -length * 0.42, self.rng.uniform(1.1, height * 0.6)])
        target = np.array([width * self.rng.uniform(-0.2, 0.2), length * 0.25, self.rng.uniform(0.5, 1.3)])
        forward = (target - origin).astype(np.float32)
        return Camera(origin.astype(np.float32), forward, np.array([0, 0, 1], np.float32), self.rng.uniform(50, 75))

    def _pose(self, place: Any, velocity: Any, spin: float, index: int) -> NDArray[np.float64]:
        angle = spin * index
        pose = np.eye(4)
        pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        pose[:3, 3] = place + velocity * index
        return pose

    def _shell(self) -> None:
        width, length, height = self.size / 2
        far = 1.0 if self.indoors else 6.0
        self._rectangle("floor", (0, 0, 0), (0, 0, 1), (width * far, length * far), self._material(plain=True))
        if not self.indoors:
            return
        self._rectangle("ceiling", (0, 0, 2 * height), (0, 0, -1), (width, length), self._diffuse((0.8, 0.8, 0.78)))
        for name, at, facing, extent in (
            ("left", (-width, 0, height), (1, 0, 0), (length, height)),
            ("right", (width, 0, height), (-1, 0, 0), (length, height)),
            ("back", (0, length, height), (0, -1, 0), (width, height)),
            ("front", (0, -length, height), (0, 1, 0), (width, height)),
        ):
            self._rectangle(name, at, facing, extent, self._material(plain=True))

    def _lights(self) -> None:
        width, length, height = self.size
        if not self.indoors:
            sky = self.rng.uniform(0.3, 1.0, 3) * (0.8, 0.9, 1.1)
            self.scene["sky"] = {"type": "constant", "radiance": {"type": "rgb", "value": sky.tolist()}}
            if self.rng.random() < 0.7:
                direction = self.rng.normal(size=3) * (1, 1, 0.2) + (0, 0, -1.2)
                colour = (np.array([1.0, 0.93, 0.8]) * self.rng.uniform(2, 8)).tolist()
                self.scene["sun"] = {
                    "type": "directional",
                    "direction": direction.tolist(),
                    "irradiance": {"type": "rgb", "value": colour},
                }
        count = int(self.rng.integers(1, 4)) if self.indoors else int(self.rng.integers(0, 2))
        for index in range(count):
            colour = (self.rng.uniform(0.6, 1.0, 3) * self.rng.uniform(4, 30)).tolist()
            emitter = {"type": "area", "radiance": {"type": "rgb", "value": colour}}
            at = self.rng.uniform((-0.4, -0.4, 0.55), (0.4, 0.4, 0.95)) * (width, length, height)
            if self.rng.random() < 0.6:
                extent = self.rng.uniform(0.15, 0.8, 2)
                at[2] = height - 0.03
                self._rectangle(f"lamp{index}", at, (0, 0, -1), extent, self._diffuse((0, 0, 0)), emitter)
            else:
                self.scene[f"lamp{index}"] = {
                    "type": "sphere",
                    "center": at.tolist(),
                    "radius": float(self.rng.uniform(0.06, 0.25)),
                    "bsdf": self._diffuse((0, 0, 0)),
                    "emitter": emitter,
                }

    def _object(self, index: int) -> None:
        width, length, _height = self.size
        place = self.rng.uniform((-0.42, -0.2, 0), (0.42, 0.45, 0)) * (width, length, 0)
        size = self.rng.uniform(0.12, 0.75, 3)
        kind = str(self.rng.choice(["cube", "sphere", "cylinder", "cube", "sphere"]))
        size = np.full(3, size.mean()) if kind == "sphere" else size
        turn = self.rng.uniform(0, np.pi)
        matrix = np.eye(4)
        matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        if kind == "cylinder":
            place[2], size = 0.0, np.array([size[0], size[0], size[2] * 2])
        else:
            place[2] = size[2]
        matrix = matrix @ np.diag([*size, 1.0])
        shape = {"type": kind, "bsdf": self._material()}
        name = f"object{index}"
        if self.moves_allowed and self.rng.random() < 0.3:
            velocity = self.rng.normal(size=3) * (0.03, 0.03, 0.0)
            spin = float(self.rng.normal() * 0.04)
            self.moving[name] = (velocity, spin, {"dict": shape, "matrix": matrix}, place)
            return
        matrix[:3, 3] = place
        self.scene[name] = {**shape, "to_world": self.mi.ScalarTransform4f(matrix)}

    def _rectangle(
        self, name: str, at: Any, facing: Any, extent: Any, bsdf: dict[str, Any], emitter: dict[str, Any] | None = None
    ) -> None:
        up = (0, 1, 0) if abs(facing[2]) > 0.5 else (0, 0, 1)
        transform = self.mi.ScalarTransform4f
        at = np.asarray(at, float)
        target = at + np.asarray(facing, float)
        matrix = transform().look_at(at.tolist(), target.tolist(), list(up)) @ transform().scale(
            [*map(float, extent), 1]
        )
        self.scene[name] = {"type": "rectangle", "to_world": matrix, "bsdf": bsdf}
        if emitter:
            self.scene[name]["emitter"] = emitter

    def _diffuse(self, colour: Any) -> dict[str, Any]:
        return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": {"type": "rgb", "value": list(colour)}}}

    def _material(self, *, plain: bool = False) -> dict[str, Any]:
        rng = self.rng
        colour = self._texture() if rng.random() < 0.6 else self._colour()
        kind = rng.choice(
            ["diffuse", "plastic", "roughplastic", "principled", "metal", "mirror", "glass"],
            p=[0.6, 0.05, 0.15, 0.15, 0.05, 0, 0] if plain else [0.3, 0.1, 0.1, 0.2, 0.12, 0.06, 0.12],
        )
        rough = float(rng.uniform(0.05, 0.5))
        if kind == "glass":
            return {"type": "dielectric", "int_ior": 1.5} if rng.random() < 0.6 else {"type": "thindielectric"}
        if kind == "mirror":
            return {"type": "twosided", "bsdf": {"type": "conductor", "material": "Al"}}
        if kind == "metal":
            metal = str(rng.choice(["Au", "Cu", "Al", "Ag"]))
            return {"type": "twosided", "bsdf": {"type": "roughconductor", "material": metal, "alpha": rough}}
        if kind == "principled":
            inner = {"type": "principled", "base_color": colour, "roughness": rough + 0.2, "specular": 0.5}
        elif kind == "plastic":
            inner = {"type": "plastic", "diffuse_reflectance": colour}
        elif kind == "roughplastic":
            inner = {"type": "roughplastic", "diffuse_reflectance": colour, "alpha": rough}
        else:
            inner = {"type": "diffuse", "reflectance": colour}
        return {"type": "twosided", "bsdf": inner}

    def _colour(self) -> dict[str, Any]:
        grey = self.rng.uniform(0.1, 0.8)
        return {"type": "rgb", "value": np.clip(grey + self.rng.normal(0, 0.15, 3), 0.03, 0.9).tolist()}

    def _texture(self) -> dict[str, Any]:
        """A bitmap of checks, stripes, planks, dots or clouds, in two colours with fine grain."""
        rng = self.rng
        side = np.arange(TEXTURE_SIDE) / TEXTURE_SIDE
        across, down = np.meshgrid(side, side)
        kind = int(rng.integers(5))
        count = int(rng.integers(2, 9))
        if kind == 0:
            blend = ((np.floor(across * count) + np.floor(down * count)) % 2).astype(float)
        elif kind == 1:
            blend = (np.sin((across * rng.uniform(-1, 1) + down) * count * 2 * np.pi) > 0).astype(float)
        elif kind == 2:
            plank = np.floor(across * count)
            blend = rng.random(count)[plank.astype(int) % count] * ((across * count) % 1 > 0.05)
        elif kind == 3:
            blend = (np.hypot((across * count) % 1 - 0.5, (down * count) % 1 - 0.5) < rng.uniform(0.15, 0.4)).astype(
                float
            )
        else:
            blend = _clouds(rng)
        first, second = rng.uniform(0.05, 0.85, 3), rng.uniform(0.05, 0.85, 3)
        picture = first + (second - first) * blend[..., None]
        picture = np.clip(picture * (1 + (_clouds(rng)[..., None] - 0.5) * rng.uniform(0, 0.5)), 0.02, 0.92)
        bitmap = self.mi.Bitmap(picture.astype(np.float32))
        repeat = float(rng.uniform(0.8, 3))
        scale = self.mi.ScalarTransform3f().scale([repeat, repeat])
        return {"type": "bitmap", "bitmap": bitmap, "raw": True, "to_uv": scale}


def _clouds(rng: np.random.Generator) -> NDArray[np.float64]:
    """Value noise of four octaves in [0, 1]."""
    total = np.zeros((TEXTURE_SIDE, TEXTURE_SIDE))
    for octave in range(2, 6):
        cells = 2**octave
        grid = rng.random((cells + 1, cells + 1))
        position = np.arange(TEXTURE_SIDE) / TEXTURE_SIDE * cells
        low = position.astype(int)
        part = position - low
        rows = grid[low] * (1 - part)[:, None] + grid[low + 1] * part[:, None]
        total += (rows[:, low] * (1 - part) + rows[:, low + 1] * part) / cells * 4
    total -= total.min()
    return total / max(total.max(), 1e-9)
