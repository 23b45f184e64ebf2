"""A gallery searched by words: from Python, the command, and as docs/gallery.md shows it."""

import json
import re
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from actors.config import AppConfig, parse_config
from foveal.commands import search
from foveal.exits import exit_code_of
from foveal.gallery import Gallery
from gallery.errors import EpochMismatchError
from gallery.index import GalleryIndex
from models.reid.spec import REID_NANO
from models.reid.text import TextEncoderMissingError
from models.reid.words import QuestionError, words_paths

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not words_paths()[1].is_file(), reason="the words' weights are not exported yet"),
]
PAGE = Path(__file__).parents[3] / "docs/gallery.md"


@pytest.fixture
def config(valkey: str) -> AppConfig:
    return parse_config({"gallery": {"url": valkey}})


def enrolled(config: AppConfig, name: str, looks: dict[str, np.ndarray]) -> None:
    with Gallery(name, config=config) as lobby:
        lobby.create()
        for who, embedding in looks.items():
            lobby.enrol(who, embedding=embedding)


def test_people_are_found_by_words(config: AppConfig, looks: dict[str, np.ndarray]) -> None:
    name = f"lobby-{uuid4().hex}"
    enrolled(config, name, looks)
    with Gallery(name, config=config) as lobby:
        found = lobby.search_by_words("a woman in a red top with a backpack, umbrella", top=2)
        assert [one.name for one in found.candidates][:1] == ["Ada"]
        assert len(found.candidates) == 2
        assert found.ignored == ("umbrella",)
        assert found.candidates[0].score > found.candidates[1].score
        with pytest.raises(QuestionError):
            lobby.search_by_words("umbrella")
        ada = found.candidates[0].identity_id
        lobby.remove(ada)
        assert ada not in [one.identity_id for one in lobby.search_by_words("red top").candidates]


def test_an_empty_gallery_answers_with_nobody(config: AppConfig) -> None:
    with Gallery(f"lobby-{uuid4().hex}", config=config) as lobby:
        lobby.create()
        assert lobby.search_by_words("woman").candidates == ()


def test_a_gallery_of_another_network_must_be_enrolled_again(config: AppConfig) -> None:
    with Gallery(f"lobby-{uuid4().hex}", config=config) as lobby:
        lobby.create(epoch="reid-nano-0")
        with pytest.raises(EpochMismatchError, match="enrol again"):
            lobby.search_by_words("woman")


def test_the_command(
    valkey: str, config: AppConfig, looks: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOVEAL_REDIS__URL", valkey)
    name = f"lobby-{uuid4().hex}"
    enrolled(config, name, looks)
    app = typer.Typer()
    app.command()(search.search)
    run = CliRunner()
    said = run.invoke(app, ["--text", "woman, red top, backpack", "-g", name])
    assert said.exit_code == 0, said.output
    assert re.match(r"  1  [01]\.\d+ ± 0\.\d+  Ada ", said.output)
    found = json.loads(run.invoke(app, ["--text", "woman, red top, backpack", "-g", name, "--json"]).output)
    assert set(found["candidates"][0]) >= {"score", "uncertainty", "matched", "phrases", "identity_id"}
    assert run.invoke(app, ["-g", name]).exit_code == 2
    refused = run.invoke(app, ["--text", "umbrella", "-g", name])
    assert isinstance(refused.exception, QuestionError)
    assert exit_code_of(refused.exception) == 2
    assert exit_code_of(TextEncoderMissingError()) == 2


def test_the_indexs_copy_is_a_copy(config: AppConfig, looks: dict[str, np.ndarray]) -> None:
    name = f"lobby-{uuid4().hex}"
    enrolled(config, name, looks)
    with GalleryIndex(config.gallery) as index:
        index.wait_until_synced(10)
        rows, owners, who = index.positives(name, epoch=REID_NANO.stem)
        assert sorted(who[owner][1] or "" for owner in owners) == ["Ada", "Bea", "Cid"]
        rows[:] = 0
        assert np.abs(index.positives(name, epoch=REID_NANO.stem)[0]).sum() > 1
        with pytest.raises(EpochMismatchError):
            index.positives(name, epoch="reid-nano-0")


def test_the_documented_search(
    valkey: str,
    looks: dict[str, np.ndarray],
    config: AppConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FOVEAL_REDIS__URL", valkey)
    section = PAGE.read_text(encoding="utf-8").split("## Search by words")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    with Gallery("lobby", config=config) as lobby:
        if "lobby" in [info.name for info in lobby._store.list_galleries()]:
            lobby.drop()
        enrolled(config, "lobby", looks)
        exec(block, {})
        first = capsys.readouterr().out.splitlines()[0]
        assert re.fullmatch(r"Ada [01]\.\d+ 0\.\d+ \('woman', 'red top', 'backpack'\)", first)
        lobby.drop()
