"""Networks of a site: their names, which one serves, and what is said where it is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from actors.config import parse_config
from actors.errors import ConfigError
from foveal.exits import Exit, exit_code_of
from models.errors import SpecError, WeightsMissingError
from models.reid.spec import REID_NANO
from models.sites import ReidConfig, embedder_spec, list_networks, next_network, serving_spec
from models.weights import assemble_onnx


def put(folder: Path, site: str) -> str:
    """The shipped files under the name of a site's network."""
    spec = next_network(site, folder)
    folder.mkdir(exist_ok=True)
    for source, target in (
        (REID_NANO.topology_path, spec.topology_path),
        (REID_NANO.weights_path, spec.weights_path),
        (REID_NANO.record_path, spec.record_path),
    ):
        shutil.copy(source, target)
    return spec.stem


def test_each_adaptation_has_an_epoch_of_its_own(tmp_path: Path) -> None:
    base = REID_NANO.stem
    assert [put(tmp_path, "lobby"), put(tmp_path, "lobby"), put(tmp_path, "door-2")] == [
        f"{base}+lobby.1",
        f"{base}+lobby.2",
        f"{base}+door-2.1",
    ]
    assert sorted(list_networks(tmp_path)) == sorted([f"{base}+lobby.1", f"{base}+lobby.2", f"{base}+door-2.1"])
    spec = embedder_spec(f"{base}+lobby.2", tmp_path)
    assert (spec.stem, spec.folder, spec.inputs) == (f"{base}+lobby.2", tmp_path, REID_NANO.inputs)
    assert assemble_onnx(spec) == assemble_onnx(REID_NANO)


def test_a_line_of_the_settings_chooses_what_serves(tmp_path: Path) -> None:
    assert serving_spec(parse_config({}).reid) is REID_NANO
    name = put(tmp_path, "lobby")
    chosen = parse_config({"reid": {"folder": str(tmp_path)}}, {"FOVEAL_REID__NETWORK": name})
    assert serving_spec(chosen.reid).stem == name
    assert serving_spec(ReidConfig(network=REID_NANO.stem)) is REID_NANO
    assert ReidConfig(folder=Path("networks")).folder.is_absolute()
    with pytest.raises(ConfigError, match="did you mean network"):
        parse_config({"reid": {"netwrok": name}})


@pytest.mark.parametrize(
    "name", ["reid-nano-3+lobby", "osnet-1+lobby.1", "../reid-nano-3+lobby.1", "reid-nano-3+a/b.1"]
)
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match=r"reid.network: expected reid-nano-\d+") as error:
        embedder_spec(name, tmp_path)
    assert exit_code_of(error.value) is Exit.USAGE


def test_a_network_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    name = put(tmp_path, "lobby")
    with pytest.raises(WeightsMissingError, match="foveal adapt") as error:
        serving_spec(ReidConfig(network=f"{REID_NANO.stem}+lobby.7", folder=tmp_path))
    assert name in str(error.value)
    assert exit_code_of(error.value) is Exit.USAGE
    with pytest.raises(SpecError, match="--site"):
        next_network("the lobby", tmp_path)
