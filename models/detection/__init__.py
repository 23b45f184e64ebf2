"""Finding people, and faces with five landmarks, in one pass."""

from models.detection.detections import Detections
from models.detection.detector import Detector
from models.detection.spec import CLASSES, DETECTION_NANO, FACE, PERSON

__all__ = ["CLASSES", "DETECTION_NANO", "FACE", "PERSON", "Detections", "Detector"]
