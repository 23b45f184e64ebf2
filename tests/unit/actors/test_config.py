"""The settings: defaults, overrides, rules, and errors that say the key, what was expected, what came, the remedy."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.config import AppConfig, load_config, parse_config
from actors.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("name", ["local.yaml", "cluster.yaml"])
def test_the_shipped_settings_are_valid(name: str) -> None:
    assert load_config(CONFIGS / name).perception.rule("anything") is not None


def test_kafka_and_redis_are_other_names_of_streams_and_gallery() -> None:
    config = load_config(
        None,
        {
            "FOVEAL_KAFKA__BOOTSTRAP_SERVERS": "a:1,b:2",
            "FOVEAL_REDIS__URL": "redis://r:1/0",
            "FOVEAL_PERCEPTION__LOOP__MAX_BATCH_FRAMES": "7",
            "FOVEAL_STREAMS__TOPICS__FRAMES__NAME": "other",
            "FOVEAL_PERCEPTION__STREAMS": "[{match: door, compute: [people]}]",
            "FOVEAL_HOME": "/somewhere",
            "HOME": "/root",
        },
    )
    assert config.streams.bootstrap_servers == ("a:1", "b:2")
    assert config.gallery.url == "redis://r:1/0"
    assert config.perception.loop.max_batch_frames == 7
    assert config.streams.topics.frames.name == "other"
    assert config.perception.rule("door") is not None
    assert config.perception.rule("yard") is None


def test_a_password_of_digits_stays_text() -> None:
    config = load_config(None, {"FOVEAL_GALLERY__PASSWORD": "0123"})
    assert config.gallery.password is not None
    assert config.gallery.password.get_secret_value() == "0123"


def test_the_first_rule_that_matches_holds() -> None:
    rules = [{"match": "cam-1", "compute": ["people"]}, {"match": "cam-*", "max_age_ms": 5}, {"match": "*"}]
    config = parse_config({"perception": {"streams": rules}}).perception
    found = [config.rule(stream) for stream in ("cam-1", "cam-2", "CAM-2")]
    assert [rule.max_age_ms for rule in found if rule] == [1000, 5, 1000]
    assert found[0] is not None
    assert found[0].compute == ("people",)


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ({"perceptoin": {}}, ["perceptoin", "did you mean perception?"]),
        ({"perception": {"loop": {"max_batch": 3}}}, ["perception.loop.max_batch", "did you mean max_batch_frames?"]),
        ({"perception": {"loop": {"max_batch_frames": 0}}}, ["perception.loop.max_batch_frames", "got 0"]),
        ({"perception": {"streams": [{"compute": ["identities"]}]}}, ["perception.streams.0", "add people"]),
        ({"perception": {"streams": [{"compute": ["faces"]}]}}, ["perception.streams.0.compute.0", "'faces'"]),
        (
            {"perception": {"streams": [{"privacy": "black"}]}},
            ["streams.0.privacy", "'pixelate'", "'black'"],
        ),
        ({"perception": {"streams": [{"freshnes": "all"}]}}, ["did you mean freshness?"]),
        ({"streams": {"bootstrap_servers": "nowhere"}}, ["streams.bootstrap_servers", "host:port", "'nowhere'"]),
        ({"perception": {"autoscaling": {"min_replicas": 5}}}, ["perception.autoscaling", "at least min_replicas"]),
        ([], ["expected a mapping", "list"]),
    ],
)
def test_an_error_names_the_key_what_came_and_the_remedy(raw: object, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    for part in parts:
        assert part in str(caught.value)


def test_an_unknown_variable_is_an_error_and_not_silence() -> None:
    with pytest.raises(ConfigError, match=r"streams\.bootstrap_server\b.*did you mean bootstrap_servers"):
        load_config(None, {"FOVEAL_KAFKA__BOOTSTRAP_SERVER": "a:1"})


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml.*No such file"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"bad\.yaml: expected YAML"):
        load_config(tmp_path / "bad.yaml")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
                    max_leaves=8))  # fmt: skip
def test_whatever_comes_is_settings_or_a_clear_error(raw: object) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(parse_config(raw), AppConfig)
