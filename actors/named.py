"""Are the networks there that the settings name? Without Ray, so that a command can say it at once."""

from __future__ import annotations

from actors.config import AppConfig
from models.detection.finder import detector_files
from models.sites import serving_spec

__all__ = ["ensure_networks"]


def ensure_networks(config: AppConfig) -> None:
    """Where one is not, replicas would be started again and again. Raises: ModelError."""
    if config.perception.placement.replicas:
        detector_files(config.perception.detector, config.perception.detector_folder)
        serving_spec(config.reid)
