"""The project's own room, for the committed demonstration sequence; nothing is ever trained on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.ssr.backend import load_mitsuba
from training.ssr.camera import Camera
from training.ssr.procedural import ProceduralScene

__all__ = ["DemoRoom"]

WARM = (1.0, 0.86, 0.66)
SEED = 20_260


class DemoRoom(ProceduralScene):
    """A furnished room: wooden floor, a table with glass and metal on it, a mirror, pictures, boxes, two lamps."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(SEED)
        self.mi = load_mitsuba()
        self.size = np.array([6.0, 8.0, 3.0])
        self.indoors = True
        self.moving = {}
        self.scene: dict[str, Any] = {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": 8, "rr_depth": 5},
        }
        self._walls()
        self._furniture()
        self._lamp("panel", (0.3, 0.9, 2.96), (0.9, 0.5), (13.0, 12.4, 11.4))
        self._lamp("panel2", (-1.4, 3.0, 2.96), (0.4, 0.4), (16.0, 15.2, 14.0))
        self._ball("bulb", (-2.35, 2.9, 1.35), 0.16, self._diffuse((0, 0, 0)))
        glow = {"type": "rgb", "value": [18 * part for part in WARM]}
        self.scene["bulb"]["emitter"] = {"type": "area", "radiance": glow}

    def path(self, frames: int) -> list[Camera]:
        """A slow dolly past the table with a turn towards the mirror."""
        cameras = []
        for index in range(frames):
            part = index / max(frames - 1, 1)
            ease = part * part * (3 - 2 * part)
            origin = np.array([-1.5 + 2.1 * ease, -3.0 + 0.75 * np.sin(part * np.pi), 1.55 + 0.18 * ease])
            target = np.array([0.15 - 0.25 * ease, 1.6, 0.85])
            forward = (target - origin).astype(np.float32)
            cameras.append(Camera(origin.astype(np.float32), forward, np.array([0, 0, 1], np.float32), 66.0))
        return cameras

    def _walls(self) -> None:
        width, length, height = self.size / 2
        planks = {"type": "diffuse", "reflectance": self._picture(_planks(self.rng), 2.0)}
        self._rectangle("floor", (0, 0, 0), (0, 0, 1), (width, length), {"type": "twosided", "bsdf": planks})
        self._rectangle("ceiling", (0, 0, 2 * height), (0, 0, -1), (width, length), self._diffuse((0.82, 0.81, 0.78)))
        paper = {"type": "diffuse", "reflectance": self._picture(_stripes(), 3.0)}
        self._rectangle("back", (0, length, height), (0, -1, 0), (width, height), {"type": "twosided", "bsdf": paper})
        self._rectangle("front", (0, -length, height), (0, 1, 0), (width, height), self._diffuse((0.7, 0.68, 0.64)))
        self._rectangle("left", (-width, 0, height), (1, 0, 0), (length, height), self._diffuse((0.25, 0.42, 0.45)))
        self._rectangle("right", (width, 0, height), (-1, 0, 0), (length, height), self._diffuse((0.72, 0.5, 0.34)))
        mirror = {"type": "twosided", "bsdf": {"type": "conductor", "material": "Ag"}}
        self._rectangle("mirror", (width - 0.02, 1.4, 1.55), (-1, 0, 0), (0.9, 0.75), mirror)
        for index, at in enumerate((-1.5, 0.1, 1.7)):
            art = {"type": "diffuse", "reflectance": self._picture(_art(self.rng), 1.0)}
            place = (at, length - 0.03, 1.75)
            self._rectangle(f"art{index}", place, (0, -1, 0), (0.55, 0.42), {"type": "twosided", "bsdf": art})

    def _furniture(self) -> None:
        wood = {"type": "twosided", "bsdf": {"type": "roughplastic", "diffuse_reflectance": self._rgb(0.36, 0.2, 0.1)}}
        self._box("table", (0.2, 0.9, 0.72), (1.0, 0.6, 0.035), wood)
        for index, (x, y) in enumerate(((-0.7, 0.4), (1.1, 0.4), (-0.7, 1.4), (1.1, 1.4))):
            self._box(f"leg{index}", (x, y, 0.345), (0.04, 0.04, 0.345), wood)
        gold = {"type": "roughconductor", "material": "Au", "alpha": 0.12}
        copper = {"type": "roughconductor", "material": "Cu", "alpha": 0.25}
        self._ball("glass", (0.05, 0.75, 0.755 + 0.21), 0.21, {"type": "dielectric", "int_ior": 1.5})
        self._ball("gold", (0.62, 1.05, 0.755 + 0.17), 0.17, {"type": "twosided", "bsdf": gold})
        self._ball("plastic", (-0.45, 1.05, 0.755 + 0.14), 0.14, self._coated(0.7, 0.08, 0.07))
        checks = {"type": "diffuse", "reflectance": self._picture(_checks(), 1.0)}
        self._box("chest", (-1.9, 2.1, 0.45), (0.5, 0.4, 0.45), {"type": "twosided", "bsdf": checks})
        self._box("crate", (1.95, 2.5, 0.35), (0.45, 0.45, 0.35), self._coated(0.1, 0.25, 0.5))
        self._box("crate2", (1.85, 2.45, 0.9), (0.25, 0.25, 0.2), self._diffuse((0.75, 0.65, 0.2)))
        self.scene["column"] = {
            "type": "cylinder",
            "p0": [-1.55, 0.3, 0.0],
            "p1": [-1.55, 0.3, 0.8],
            "radius": 0.2,
            "bsdf": {"type": "twosided", "bsdf": copper},
        }
        self._ball("stone", (-1.55, 0.3, 1.02), 0.22, self._diffuse((0.62, 0.6, 0.56)))
        self._box("rug", (0.2, -0.4, 0.01), (1.3, 0.9, 0.01), self._diffuse((0.5, 0.12, 0.14)))

    def _lamp(self, name: str, at: Any, extent: Any, radiance: Any) -> None:
        emitter = {"type": "area", "radiance": {"type": "rgb", "value": list(radiance)}}
        self._rectangle(name, at, (0, 0, -1), extent, self._diffuse((0, 0, 0)), emitter)

    def _box(self, name: str, at: Any, half: Any, bsdf: dict[str, Any]) -> None:
        transform = self.mi.ScalarTransform4f
        placed = transform().translate(list(at)) @ transform().scale(list(half))
        self.scene[name] = {"type": "cube", "to_world": placed, "bsdf": bsdf}

    def _ball(self, name: str, at: Any, radius: float, bsdf: dict[str, Any]) -> None:
        self.scene[name] = {"type": "sphere", "center": list(at), "radius": radius, "bsdf": bsdf}

    def _coated(self, red: float, green: float, blue: float) -> dict[str, Any]:
        inner = {"type": "roughplastic", "diffuse_reflectance": self._rgb(red, green, blue), "alpha": 0.1}
        return {"type": "twosided", "bsdf": inner}

    def _rgb(self, red: float, green: float, blue: float) -> dict[str, Any]:
        return {"type": "rgb", "value": [red, green, blue]}

    def _picture(self, pixels: Any, repeat: float) -> dict[str, Any]:
        bitmap = self.mi.Bitmap(np.ascontiguousarray(pixels, np.float32))
        scale = self.mi.ScalarTransform3f().scale([repeat, repeat])
        return {"type": "bitmap", "bitmap": bitmap, "raw": True, "to_uv": scale}


def _planks(rng: np.random.Generator) -> Any:
    rows, columns = np.mgrid[:256, :256]
    plank = columns // 32
    shade = rng.uniform(0.75, 1.1, 8)[plank] * (1 + 0.08 * np.sin(rows / 9 + plank * 3 + np.sin(columns / 5)))
    shade = shade * np.where((columns % 32 < 1) | ((rows + plank * 77) % 256 < 2), 0.45, 1.0)
    return shade[..., None] * np.array([0.52, 0.34, 0.19])


def _stripes() -> Any:
    columns = np.tile(np.arange(256), (256, 1))
    return np.where((columns % 64 < 32)[..., None], [0.66, 0.63, 0.52], [0.55, 0.56, 0.5])


def _checks() -> Any:
    rows, columns = np.mgrid[:256, :256]
    return np.where((((rows // 64) + (columns // 64)) % 2 == 0)[..., None], [0.8, 0.78, 0.7], [0.12, 0.3, 0.2])


def _art(rng: np.random.Generator) -> Any:
    rows, columns = np.mgrid[:256, :256] / 255
    picture = np.ones((256, 256, 3)) * rng.uniform(0.6, 0.9, 3)
    for _spot in range(9):
        at, radius = rng.random(2), rng.uniform(0.05, 0.25)
        inside = np.hypot(rows - at[0], columns - at[1]) < radius
        picture[inside] = rng.uniform(0.05, 0.9, 3)
    edge = np.minimum(np.minimum(rows, 1 - rows), np.minimum(columns, 1 - columns)) < 0.04
    picture[edge] = 0.08
    return picture
