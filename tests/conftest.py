"""The real services for tests: one embedded Kafka and one Valkey for each pytest-xdist worker.

They start on free ports in the worker's own temporary folder when the first test asks for them, and stop
with the session. With REQUIRE_SERVICES=1 (as in CI) a service that can't start fails its tests; else they are skipped.
"""

import os
import signal
from collections.abc import Iterator

import pytest

from deploy.local import LocalKafka, LocalStackError, LocalValkey

KAFKA_HEAP_MB = 384


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard() -> None:
    """A shell that starts the tests in the background lets them, and whatever they start, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real broker. Topics are shared within a worker: name yours after the test."""
    server = LocalKafka(tmp_path_factory.mktemp("kafka"), heap_mb=KAFKA_HEAP_MB)
    _start_or_skip(server)
    yield server.bootstrap_servers
    server.kill()  # its data goes with the temporary folder: nothing to shut down cleanly


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Valkey (redis://...). Keys are shared within a worker: prefix yours."""
    server = LocalValkey(tmp_path_factory.mktemp("valkey"))
    _start_or_skip(server)
    yield server.url
    server.kill()


def _start_or_skip(server: LocalKafka | LocalValkey) -> None:
    try:
        server.start()
    except LocalStackError as error:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(f"{type(server).__name__} did not start: {error}")
