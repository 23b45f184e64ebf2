"""Foveal's public face: `from foveal import FrameProducer, GBufferProducer, Results, Gallery`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveal.gallery import Gallery
    from foveal.producers import DeliveryError, FrameProducer, GBufferProducer
    from foveal.results import Result, Results

__all__ = ["DeliveryError", "FrameProducer", "GBufferProducer", "Gallery", "Result", "Results"]

_HOMES = {
    "DeliveryError": "foveal.producers",
    "FrameProducer": "foveal.producers",
    "GBufferProducer": "foveal.producers",
    "Gallery": "foveal.gallery",
    "Result": "foveal.results",
    "Results": "foveal.results",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `foveal --help` needs neither Kafka nor OpenVINO."""
    if name not in _HOMES:
        raise AttributeError(f"module 'foveal' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
