"""Plain Kafka clients will do: the documented `kcat` commands send a frame and read its answer, with `jq`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from actors.config import parse_config
from foveal.session import LocalSession

pytestmark = [
    pytest.mark.slow,
    pytest.mark.services,
    pytest.mark.timeout(420),
    # Ray's own: fields of its pydantic models, and processes that it leaves to end by themselves.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOT = Path(__file__).parents[3]
TOOLS = ("kcat", "jq")
ANSWER_TIMEOUT_S = 60.0
SIZE_WH = (320, 180)


def documented() -> list[str]:
    """The commands of the section "With kcat", each on one line."""
    text = (ROOT / "docs" / "wire-contract.md").read_text(encoding="utf-8")
    block = re.search(r"## With kcat\n```sh\n(.*?)```", text, flags=re.DOTALL)
    assert block is not None
    return block[1].replace("\\\n", " ").strip().splitlines()


@pytest.fixture(scope="module")
def tools() -> None:
    """kcat and jq: those on the PATH, else Debian's, which root may install."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} not on the PATH, and there is no apt-get that this user may use"
    if shutil.which("apt-get") is not None and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False, timeout=120)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=240)
        if done.returncode == 0:
            return
        reason = f"apt-get could not install {', '.join(missing)}: {done.stderr.strip()[-300:]}"
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def broker(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a running service with the usual topics, which drops nothing."""
    folder = tmp_path_factory.mktemp("service")
    config = parse_config(
        {
            "engine": {"cache_dir": str(folder / "engines")},
            "perception": {"streams": [{"freshness": "all"}]},
            "reconstruction": {"placement": {"replicas": 0}},
            "gateway": {"placement": {"replicas": 0}},
        }
    )
    with LocalSession(config, folder, ephemeral=True) as session:
        yield session.info.bootstrap_servers


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the picture that the documentation names."""
    folder = tmp_path_factory.mktemp("desk")
    noise = np.random.default_rng(0).integers(0, 255, (SIZE_WH[1] // 20, SIZE_WH[0] // 20, 3), np.uint8)
    cv2.imwrite(str(folder / "photo.jpg"), cv2.resize(noise, SIZE_WH, interpolation=cv2.INTER_CUBIC))
    return folder


def run(line: str, broker: str, desk: Path) -> str:
    """A documented line, with this broker's address and this picture's size."""
    line = line.replace("localhost:9092", broker).replace("width=1280", f"width={SIZE_WH[0]}")
    line = line.replace("height=720", f"height={SIZE_WH[1]}")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=desk, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wait_for(line: str, broker: str, desk: Path) -> str:
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while not (came := run(line, broker, desk)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert came, f"nothing after {ANSWER_TIMEOUT_S:g} s: {line}"
    return came


def test_a_frame_sent_by_kcat_is_answered_and_read_by_kcat_and_jq(broker: str, desk: Path) -> None:
    send, read, _ = documented()
    run(send, broker, desk)
    reading = f"kcat -C -q -b {broker} -t foveal.people -o beginning -e -f '%s\\n' | jq -c '{{stream_id, seq, width}}'"
    assert json.loads(wait_for(reading, broker, desk)) == {"stream_id": "door", "seq": 0, "width": SIZE_WH[0]}
    headers = run(f"kcat -C -q -b {broker} -t foveal.people -o beginning -e -f '%k %h\\n'", broker, desk)
    assert headers.startswith("door ")
    assert "ce_type=foveal.people.v1" in headers
    assert re.search(r"ce_id=foveal\.frames/\d+/\d+,", headers)
    run(read, broker, desk)  # as documented: nobody is in the picture, but jq must find its way


def test_a_frame_that_is_none_is_found_among_the_dead_letters(broker: str, desk: Path) -> None:
    send, _, dead = documented()
    (desk / "torn.jpg").write_bytes((desk / "photo.jpg").read_bytes()[:400])
    run(send.replace("photo.jpg", "torn.jpg").replace("-k door", "-k torn"), broker, desk)
    came = wait_for(dead, broker, desk)
    assert came.startswith("torn ")
    assert "foveal-error=PayloadError" in came
    assert "codec=jpeg" in came
