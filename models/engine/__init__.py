"""Compiled networks behind one interface: `load_engine(spec, config, shapes)` -> `Engine`."""

from models.engine.base import Engine, EngineInfo, Pending
from models.engine.config import EngineConfig
from models.engine.load import load_engine, load_onnx
from models.engine.registry import EngineRegistry
from models.engine.shapes import ShapeProfile

__all__ = [
    "Engine",
    "EngineConfig",
    "EngineInfo",
    "EngineRegistry",
    "Pending",
    "ShapeProfile",
    "load_engine",
    "load_onnx",
]
