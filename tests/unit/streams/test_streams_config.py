"""Settings: defaults that hold together, and errors that name the dotted key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from streams.config import ROLES, SecurityConfig, StreamsConfig, TopicsConfig
from streams.security import security_options


def test_addresses_come_as_a_list_or_as_text() -> None:
    assert StreamsConfig(bootstrap_servers="a:1, b:2").bootstrap_servers == ("a:1", "b:2")  # type: ignore[arg-type]
    assert StreamsConfig(bootstrap_servers=["[::1]:9092"]).bootstrap_servers == ("[::1]:9092",)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"bootstrap_servers": "kafka"}, "streams.bootstrap_servers: expected host:port, got 'kafka'"),
        ({"bootstrap_servers": "kafka:0"}, "host:port"),
        ({"bootstrap_servers": ""}, "bootstrap_servers"),
        ({"security": {"protocol": "SASL_SSL"}}, "streams.security.sasl_mechanism"),
        ({"security": {"protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}}, "streams.security.username"),
        ({"security": {"protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}}, "oauth_token_provider"),
        ({"consumer": {"heartbeat_interval_ms": 4000}}, "at most a third of session_timeout_ms"),
        ({"topics": {"people": {"name": "foveal.frames"}}}, "'foveal.frames' twice"),
        ({"topics": {"people": {"name": "p", "replication": 0}}}, "replication"),
        ({"topic": {}}, "Extra inputs"),
    ],
)
def test_what_can_not_be_is_refused_by_its_key(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as raised:
        StreamsConfig.model_validate(given)
    assert named in str(raised.value)


def test_every_role_has_a_topic_and_every_topic_a_role() -> None:
    topics = TopicsConfig()
    assert [topics.role_of(topics.of(role).name) for role in ROLES] == list(ROLES)
    assert topics.role_of("strange") is None


def test_a_dead_letter_takes_any_record_with_its_error() -> None:
    topics = TopicsConfig()
    largest = max(topics.frames.max_message_bytes, topics.gbuffers.max_message_bytes)
    assert topics.deadletters.max_message_bytes > largest


def test_security_reaches_the_client(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    security = SecurityConfig(
        protocol="SASL_SSL", ca_file=str(authority), sasl_mechanism="SCRAM-SHA-512", username="u", password="p"  # type: ignore[arg-type]
    )  # fmt: skip
    options = security_options(security)
    assert options["security_protocol"] == "SASL_SSL"
    assert options["ssl_cafile"] == str(authority)
    assert options["ssl_check_hostname"] is True
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("u", "p")
    assert "p" not in repr(security).replace("SecretStr", "").replace("protocol", "").split("password=")[1][:12].strip(
        "('*"
    )
