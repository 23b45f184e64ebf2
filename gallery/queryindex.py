"""Where the server has a query engine, a gallery's embeddings are indexed for other clients of it too.

The engine is Redis 8's, Redis Stack's or Valkey Search's; its `FT.*` commands are the same for what is used here (Redis
query engine, "Vectors"; Valkey Search, "FT.CREATE"). The server keeps the index in step with the hashes by itself.
Matching does not use it: replicas answer from their own memory, exactly.
"""

import logging

from redis.exceptions import ResponseError

from gallery.keys import GalleryKeys
from gallery.schema import GalleryInfo
from gallery.server import GalleryServer

__all__ = ["drop_embeddings_index", "index_embeddings"]

logger = logging.getLogger(__name__)

NO_ENGINE, THERE = "unknown command", "already exists"
TYPES = {"float32": "FLOAT32", "float16": "FLOAT16"}


def index_embeddings(server: GalleryServer, info: GalleryInfo) -> bool:
    """Make the index `foveal:{<gallery>}:embeddings` where it is not there; whether it is there now.

    Without a query engine nothing happens. A server that has one and refuses, as for a database other than 0, is told
    of in the log: the gallery is whole without an index.
    """
    keys = GalleryKeys(info.name)
    if not server.config.query_index or server.config.cluster:
        return False
    vector = ["FLAT", 6, "TYPE", TYPES[info.storage], "DIM", info.dimension, "DISTANCE_METRIC", "COSINE"]
    try:
        server.client.execute_command(
            *("FT.CREATE", _name(keys), "ON", "HASH", "PREFIX", 1, keys.vectors_prefix),
            *("SCHEMA", "polarity", "TAG", "epoch", "TAG", "quality", "NUMERIC", "embedding", "VECTOR", *vector),
        )
    except ResponseError as error:
        if THERE in str(error).lower():
            return True
        if NO_ENGINE not in str(error).lower():
            logger.warning("gallery %s: its embeddings are not indexed by the server: %s", info.name, error)
        return False
    return True


def drop_embeddings_index(server: GalleryServer, gallery: str) -> None:
    """Let the index go, if there is one; the hashes stay."""
    try:
        server.client.execute_command("FT.DROPINDEX", _name(GalleryKeys(gallery)))
    except ResponseError:
        return  # no engine, or no index


def _name(keys: GalleryKeys) -> str:
    return f"{keys.prefix}embeddings"
