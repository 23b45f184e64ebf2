"""The engines of a replica, built or found in the registry, and warm before the replica joins its group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actors.config import AppConfig
from actors.perception import PROBE_BGR, PerceptionNetworks
from models.detection.finder import open_finder
from models.engine import load_engine
from models.expression import EXPRESSION_NANO, ExpressionReader
from models.reid import Embedder
from models.sites import serving_spec
from models.tracking import Tracker

if TYPE_CHECKING:
    from models.ssr import Reconstructor

__all__ = ["load_perception", "load_reconstruction"]

# What an engine tunes itself for at the first use of a size: the batches that the models cut into.
WARM_BATCHES = (1, 2, 4, 8)
WARM_RENDERS = (1, 2)
PERCEPTION_STREAMS = 2
PERSON_BOX = np.array([[100, 50, 200, 300]], np.float32)


def load_perception(config: AppConfig) -> PerceptionNetworks:
    """Detector, embedder and expression reader. Raises: the errors of `serving_spec`, `open_finder`, `load_engine`."""
    streams = config.engine.streams or PERCEPTION_STREAMS
    engine = config.engine.model_copy(update={"streams": streams})
    perception = config.perception
    detector = open_finder(
        perception.detector, engine, perception.detector_folder, threshold=perception.detector_threshold
    )
    looks = serving_spec(config.reid)
    embedder = Embedder(load_engine(looks, engine, from_uint8=True), looks)
    expressions = ExpressionReader(load_engine(EXPRESSION_NANO, engine, from_uint8=True))
    for width, height in perception.warm_sizes_wh:
        for count in WARM_BATCHES:
            detector.detect([np.full((height, width, 3), 114, np.uint8)] * count)
    for count in WARM_BATCHES:
        embedder.embed([PROBE_BGR], [np.repeat(PERSON_BOX, count, axis=0)])
        expressions.read_faces(np.zeros((count, 48, 48), np.uint8))
    Tracker(perception.tracking)  # its package takes a second to import
    return PerceptionNetworks(detector, embedder, expressions, looks.stem)


def load_reconstruction(config: AppConfig) -> Reconstructor:
    """The reconstructor. Raises: the errors of `models.engine.load_engine`."""
    from models.ssr import SSR, Reconstructor
    from models.ssr.preprocess import blank_planes

    reconstructor = Reconstructor(load_engine(SSR, config.engine))
    for width, height in config.reconstruction.warm_sizes_wh:
        planes = blank_planes(width, height)
        for count in WARM_RENDERS:
            reconstructor.reconstruct([planes] * count, [None] * count)
    return reconstructor
