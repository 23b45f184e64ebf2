"""The README's code blocks, run as a new user would, on a service that the README's own first command brings up."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import pytest

from foveal.demo.inputs import talking_face
from foveal.media import open_source

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOVEAL = [sys.executable, "-m", "foveal"]
FOLLOWS = "watch"  # runs until Ctrl-C


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line.split("#")[0].strip() for block in blocks("console") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the files that the README names, and `foveal down` at the end whatever happened."""
    folder = tmp_path_factory.mktemp("desk")
    frames = [frame.image_bgr for frame in islice(iter(open_source(str(talking_face()))), 1)]
    cv2.imwrite(str(folder / "ada.jpg"), frames[0])
    (folder / "street.mp4").write_bytes(talking_face().read_bytes())
    os.environ["FOVEAL_HOME"] = str(folder / "home")
    yield folder
    subprocess.run([*FOVEAL, "down"], cwd=folder, check=False, timeout=120)
    del os.environ["FOVEAL_HOME"]


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FOVEAL, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_the_readme_s_commands_work_one_after_the_other(desk: Path) -> None:
    ran = []
    for command in commands():
        if command[0] == "make":
            assert (
                subprocess.run(["make", "-n", command[1]], cwd=ROOT, capture_output=True, check=False).returncode == 0
            )
            continue
        assert command[0] == ".venv/bin/foveal"
        if command[1] == FOLLOWS:
            _follow(command[1:], desk)
        else:
            done = run(command[1:], desk)
            assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
        ran.append(command[1])
    assert {"up", "enroll", "push", "watch", "audit", "doctor"} <= set(ran)
    for block in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=desk, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    audit = run(["audit"], desk)
    assert audit.returncode == 0, audit.stdout + audit.stderr


def _follow(arguments: list[str], folder: Path) -> None:
    """A command that shows what comes: something is sent once it listens, it must show it and leave on Ctrl-C."""
    process = subprocess.Popen([*FOVEAL, *arguments], cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        pushing = run(["push", "street.mp4", "--stream", "door-1", "--seconds", "6", "--loop", "3"], folder)
        assert pushing.returncode == 0, pushing.stderr
        assert process.stdout is not None
        assert "door-1" in process.stdout.readline()
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()
    assert code == 130
