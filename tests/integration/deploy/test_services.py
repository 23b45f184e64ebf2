import socket

import pytest

pytestmark = pytest.mark.services


def test_the_broker_fixture_answers(kafka: str) -> None:
    host, _, port = kafka.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=2):
        pass
