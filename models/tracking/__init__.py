"""Following people from frame to frame: `Tracker(config).update(detections)` -> track numbers, `.splits`."""

from models.tracking.appearance import Split
from models.tracking.config import TrackingConfig
from models.tracking.tracker import Tracker

__all__ = ["Split", "Tracker", "TrackingConfig"]
