"""Subpixel sampling reconstruction: a quarter of a sample per pixel, and noise-free planes, to a whole picture."""

from __future__ import annotations

from models.ssr.errors import PlanesError
from models.ssr.history import History
from models.ssr.postprocess import encode_srgb, to_bgr8
from models.ssr.reconstructor import Reconstructor
from models.ssr.spec import SSR

__all__ = ["SSR", "History", "PlanesError", "Reconstructor", "encode_srgb", "to_bgr8"]
