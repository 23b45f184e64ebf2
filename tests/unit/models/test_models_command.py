"""`foveal models`: data by --json, exit codes that scripts can use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foveal.commands.models import app
from models import catalogue
from models.errors import UnknownModelError


@pytest.fixture(autouse=True)
def only_tiny(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of one network and one public file, in folders of the test's own."""
    monkeypatch.setattr(catalogue, "CATALOGUE", {"tiny": tiny.spec})
    monkeypatch.setenv("FOVEAL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FOVEAL_MODEL_MIRROR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.exit_code, result.stdout


def test_list_says_what_is_whole(tiny: Any) -> None:
    code, text = call("list", "--json")
    (network,) = json.loads(text)["networks"]
    assert code == 0
    assert (network["name"], network["state"], network["parameters"]) == ("tiny", "whole", 20)
    assert network["metrics"] == {"made": "by hand"}
    tiny.spec.weights_path.write_bytes(b"broken")
    assert json.loads(call("list", "--json")[1])["networks"][0]["state"] == "damaged"
    tiny.spec.weights_path.unlink()
    assert json.loads(call("list", "--json")[1])["networks"][0]["state"] == "missing"


def test_list_is_readable() -> None:
    code, text = call("list")
    assert code == 0
    assert "tiny" in text
    assert "yolox_nano" in text


def test_verify_runs_each_network() -> None:
    code, text = call("verify", "--json")
    assert code == 0
    assert json.loads(text)[0] | {"run_ms": 0} == {"name": "tiny", "ok": True, "run_ms": 0, "error": None}


def test_verify_fails_with_1_and_the_reason(tiny: Any) -> None:
    tiny.spec.weights_path.write_bytes(b"broken")
    code, text = call("verify", "--json")
    assert code == 1
    assert "expected SHA-256" in json.loads(text)[0]["error"]


def test_build_keeps_an_engine(tmp_path: Path) -> None:
    code, text = call("build", "--compiler", "openvino", "--json")
    (report,) = json.loads(text)
    assert code == 0
    assert report["ok"]
    assert report["bytes"] > 0
    assert len(list((tmp_path / "home" / "engines").glob("*.engine"))) == 2  # plain, and with the pixels folded in


def test_build_says_what_a_compiler_cannot_take(write_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = write_tiny("odd", last="NoSuchOperator").spec
    monkeypatch.setattr(catalogue, "CATALOGUE", {"odd": odd})
    code, text = call("build", "odd", "--compiler", "openvino", "--json")
    assert code == 1
    assert "NoSuchOperator" in json.loads(text)[0]["error"]


def test_a_compute_capability_is_for_tensorrt() -> None:
    assert call("build", "--compiler", "openvino", "--compute-capability", "8.9")[0] == 2


def test_an_unknown_name_is_an_error_of_ours() -> None:
    with pytest.raises(UnknownModelError, match="nonet"):
        call("verify", "nonet")


def test_pull_takes_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib
    from dataclasses import replace

    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "yolox_nano.onnx").write_bytes(b"weights")
    fake = replace(catalogue.PUBLIC["yolox_nano"], sha256=(hashlib.sha256(b"weights").hexdigest(),))
    monkeypatch.setitem(catalogue.PUBLIC, "yolox_nano", fake)
    code, text = call("pull", "yolox_nano", "--mirror", str(tmp_path / "mirror"), "--json")
    assert code == 0
    assert json.loads(text)[0]["path"] == str(tmp_path / "home" / "models" / "yolox_nano.onnx")
    assert (tmp_path / "home" / "models" / "yolox_nano.onnx").read_bytes() == b"weights"


@pytest.mark.parametrize("command", ["list", "verify", "build", "pull"])
def test_every_command_has_examples(command: str) -> None:
    code, text = call(command, "--help")
    assert code == 0
    assert f"foveal models {command}" in text
