"""The embedded services as child processes: they start, are found again, end, and outlive nobody unasked."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local import LocalKafka, LocalStack, LocalStackError, LocalValkey, ServiceStartError
from deploy.local.artifacts import LOCK_PATH, classpath
from deploy.local.errors import ArtifactError
from deploy.local.process import free_port

pytestmark = pytest.mark.services

PARENT = """
import sys, time
from pathlib import Path
from deploy.local import LocalValkey
server = LocalValkey(Path(sys.argv[1]), outlive_parent=sys.argv[2] == "outlive")
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


def _until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def _ping(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16)


def test_the_broker_keeps_its_address_and_its_data(tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path, heap_mb=256)
    with pytest.raises(ServiceStartError, match="start"):
        _ = broker.bootstrap_servers
    broker.start()
    address, first_pid = broker.bootstrap_servers, broker.pid
    cluster = (tmp_path / "data" / "meta.properties").read_text()
    broker.stop()
    assert not broker.running
    broker.start()
    assert broker.bootstrap_servers == address
    assert broker.pid != first_pid
    assert (tmp_path / "data" / "meta.properties").read_text() == cluster
    broker.kill()
    assert broker.pid is None


def test_a_setting_that_the_broker_refuses_is_said_with_its_log(tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path, heap_mb=256, settings={"num.io.threads": "none"})
    with pytest.raises(ServiceStartError, match=r"num\.io\.threads"):
        broker.start()


@pytest.mark.parametrize("server", [LocalValkey, partial(LocalKafka, heap_mb=256)], ids=["valkey", "kafka"])
def test_a_port_that_another_server_took_meanwhile_is_left_to_it(tmp_path: Path, server: Callable[..., Any]) -> None:
    with LocalValkey(tmp_path / "first") as first, server(tmp_path / "second", first.port) as second:
        assert second.running
        assert second.port != first.port
        assert _ping(first.port) == b"+PONG\r\n"


def test_valkey_answers_and_stops(tmp_path: Path) -> None:
    with LocalValkey(tmp_path) as server:
        assert _ping(server.port) == b"+PONG\r\n"
        assert server.url == f"redis://127.0.0.1:{server.port}/0"
        pid = server.pid
        assert pid is not None
    assert not psutil.pid_exists(pid)
    assert not (tmp_path / "appendonlydir").exists()


@pytest.mark.parametrize("outlive", [False, True])
def test_a_server_ends_with_its_parent_unless_it_was_asked_to_stay(tmp_path: Path, outlive: bool) -> None:
    how = "outlive" if outlive else "end"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), how], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    if outlive:
        time.sleep(0.5)
        assert psutil.pid_exists(pid)
        os.kill(pid, signal.SIGKILL)
    _until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_stack_is_found_again_and_stopped_by_anybody(tmp_path: Path) -> None:
    state = LocalStack(tmp_path, kafka=False, valkey_port=None).start()
    found = LocalStack(tmp_path).state()
    assert found == state
    assert not state.stale
    assert state.valkey is not None
    assert state.valkey.answers
    assert state.valkey.rss_bytes > 0
    assert state.redis_url == f"redis://127.0.0.1:{state.valkey.port}/0"
    assert LocalStack(tmp_path, kafka=False).start() == state  # what runs is kept
    assert LocalStack(tmp_path).stop() == ["valkey"]
    assert not state.valkey.alive
    assert LocalStack(tmp_path).state() is None
    assert LocalStack(tmp_path).stop() == []


def test_a_stale_state_is_seen_and_a_stranger_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path)
    service = {"pid": os.getpid(), "started_at_s": 1.0, "port": free_port()}  # this test process, of another time
    stack.state_path.write_text(json.dumps({"kafka": None, "valkey": service}))
    state = stack.state()
    assert state is not None
    assert state.stale
    assert stack.stop() == []
    assert not stack.state_path.exists()


def test_a_state_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path)
    stack.state_path.write_text("{}]")
    with pytest.raises(LocalStackError, match="remove it"):
        stack.state()


def test_an_altered_artifact_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "lock.toml"
    entry = next(part for part in LOCK_PATH.read_text().split("[[dependencies]]") if '"jopt-simple"' in part)
    sha256 = entry.split('sha256 = "')[1][:64]
    lock.write_text("[[dependencies]]" + entry.replace(sha256, "0" * 64))
    with pytest.raises(ArtifactError, match="expected SHA-256 0000"):
        classpath(tmp_path / "cache", lock)
    assert not list((tmp_path / "cache").glob("*.jar"))


def test_the_jars_are_pinned_and_at_hand() -> None:
    jars = classpath()
    assert all(jar.exists() for jar in jars)
    assert LOCK_PATH.read_text().count("sha256 = ") == len(jars)
