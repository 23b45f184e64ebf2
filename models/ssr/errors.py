"""The errors of reconstruction."""

from __future__ import annotations

from models.errors import ModelError

__all__ = ["PlanesError"]


class PlanesError(ModelError, ValueError):
    """A frame's planes cannot be reconstructed; `plane` names the first one that is wrong."""

    def __init__(self, plane: str, problem: str) -> None:
        self.plane = plane
        super().__init__(f"plane {plane}: {problem}")
