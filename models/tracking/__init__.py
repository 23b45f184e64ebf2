"""Following people from frame to frame: `Tracker(config).update(detections)` -> track numbers."""

from models.tracking.config import TrackingConfig
from models.tracking.tracker import Tracker

__all__ = ["Tracker", "TrackingConfig"]
