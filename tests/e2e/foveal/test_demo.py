"""`foveal demo`, short, as a newcomer runs it: videos that play, a summary that adds up, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from foveal.media import open_source

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(600)]


def test_the_demo_leaves_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    environ = os.environ | {"FOVEAL_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "foveal", "demo", "--seconds", "4", "--json", "--out", str(tmp_path / "out")],
        cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {"carphone", "renderer"} <= set(summary["streams"])
    for name, stream in summary["streams"].items():
        assert stream["frames_in"] == stream["results"] + stream["drops"] + stream["deadletters"], name
        assert stream["results"] > 0, name
        assert stream["latency_ms"]["p50"] <= stream["latency_ms"]["p95"], name
        assert stream["source"], name
        assert open_source(str(tmp_path / "out" / f"{name}.mp4")).frames == stream["frames_in"], name
    audit = summary["audit"]
    assert audit["offsets"] == audit["results"] + audit["drops"] + audit["deadletters"]
    assert (audit["missing"], audit["duplicated"]) == (0, 0)
    assert len(list((tmp_path / "out" / "renderer").glob("*.png"))) == summary["streams"]["renderer"]["results"]
    assert (tmp_path / "out" / "contact_sheet.jpg").stat().st_size > 10_000
    assert not processes_of(tmp_path)


def test_ctrl_c_while_it_plays_stops_everything(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "foveal", "demo", "--out", str(tmp_path / "out")],
        cwd=tmp_path, env=os.environ | {"FOVEAL_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        assert any("enrolled" in line for line in demo.stdout)
        time.sleep(4)
        assert processes_of(tmp_path / "home")
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: the whole foreground group
        said = demo.stdout.read()
        assert demo.wait(60) == 130, said
    assert "Traceback" not in said
    assert "played" not in said
    assert not processes_of(tmp_path)


def processes_of(folder: Path) -> list[list[str]]:
    """Command lines that name the folder; the dead have none."""
    found = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
    return [line for line in found if str(folder) in " ".join(line)]
