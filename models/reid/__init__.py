"""Re-identification: people to unit vectors, `Embedder(load_engine(REID_NANO, ...)).embed(frames_bgr, boxes_xyxy)`."""

from models.reid.embedder import Embedder
from models.reid.preprocess import EmptyBoxError, crop_people
from models.reid.spec import REID_NANO

__all__ = ["REID_NANO", "Embedder", "EmptyBoxError", "crop_people"]
