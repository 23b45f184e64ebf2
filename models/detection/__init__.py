"""People and faces with five landmarks, found in one pass: `Detector(engine).detect(images_bgr)`."""

from models.detection.detections import CLASSES, FACE, PERSON, Detections
from models.detection.spec import DETECTION_NANO

__all__ = ["CLASSES", "DETECTION_NANO", "FACE", "PERSON", "Detections"]
