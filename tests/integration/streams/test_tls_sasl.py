"""A broker that takes only TLS with a name and password: the settings reach every client, and a wrong one is named."""

from __future__ import annotations

import datetime
import ipaddress
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from deploy.local import LocalKafka
from foveal import FrameProducer
from foveal.exits import Exit, exit_code_of
from streams.audit import audit
from streams.client import describe_cluster, open_admin, open_producer
from streams.config import ROLES, SecurityConfig, StreamsConfig, TopicConfig, TopicsConfig
from streams.consumer import StreamConsumer
from streams.errors import BrokerRefusedError, BrokerUnavailableError, SecurityFileError, StreamError
from streams.publisher import Publisher
from streams.topics import ensure_topics

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

USER, PASSWORD = "camera", "correct horse"
BROKER_PASSWORD = "battery staple"
LOGIN = (
    f'org.apache.kafka.common.security.plain.PlainLoginModule required username="broker" password="{BROKER_PASSWORD}" '
    f'user_broker="{BROKER_PASSWORD}" user_{USER}="{PASSWORD}";'
)


@dataclass(frozen=True)
class Secured:
    """A broker behind TLS and SASL, and the authority that signed its certificate."""

    address: str
    authority: Path
    stranger: Path

    def config(self, name: str = "tls", **security: Any) -> StreamsConfig:
        """Topics of that name, and what the broker asks for, but for what `security` says otherwise."""
        fields = {
            "protocol": "SASL_SSL", "ca_file": str(self.authority), "sasl_mechanism": "PLAIN",
            "username": USER, "password": PASSWORD,
        }  # fmt: skip
        return StreamsConfig(
            bootstrap_servers=(self.address,),
            security=SecurityConfig.model_validate(fields | security),
            topics=TopicsConfig(**{role: TopicConfig(name=f"{name}.{role}", partitions=2) for role in ROLES}),
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority, chain = certificates(folder, "authority")
    stranger, _ = certificates(folder, "stranger")
    settings: dict[str, str | int] = {
        # The listener keeps its name: what is spoken behind it is another matter.
        "listener.security.protocol.map": "PLAINTEXT:SASL_SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(chain),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority),
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.plaintext.plain.sasl.jaas.config": LOGIN,
        "listener.name.plaintext.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }
    with LocalKafka(folder / "kafka", heap_mb=256, settings=settings) as broker:
        yield Secured(broker.bootstrap_servers, authority, stranger)


def certificates(folder: Path, name: str) -> tuple[Path, Path]:
    """A new authority, and a broker's key and certificate for loopback signed by it; -> PEM files of the two."""
    key, broker_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, extension: Any) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(extension, critical=True)
            .sign(key, hashes.SHA256())
        )

    root = signed(issuer, key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")]), broker_key.public_key(), host)
    pem = serialization.Encoding.PEM
    private = broker_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    authority, chain = folder / f"{name}.pem", folder / f"{name}-broker.pem"
    authority.write_bytes(root.public_bytes(pem))
    chain.write_bytes(private + leaf.public_bytes(pem) + root.public_bytes(pem))
    return authority, chain


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_frames_in_and_results_out_over_tls_with_a_password(
    secured: Secured, steps: SimpleNamespace, mechanism: str
) -> None:
    if mechanism.startswith("SCRAM"):
        admin = open_admin(secured.config())
        admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion("scram", ScramMechanism.SCRAM_SHA_512, PASSWORD)]
        )
        admin.close()
        config = secured.config("scram", sasl_mechanism=mechanism, username="scram")
    else:
        config = secured.config("plain")
    ensure_topics(config)
    with FrameProducer("door", config=config) as door:
        for _ in range(6):
            door.send(np.zeros((16, 16, 3), np.uint8))
    topic = config.topics.frames.name
    with StreamConsumer(config, topic, "g", "m") as consumer, Publisher(config, consumer) as publisher:
        publisher.publish(steps.answered(steps.take(consumer, 6)))
        assert publisher.flush(15)
    assert sorted(steps.results(config).values()) == [1] * 6
    report = audit(config, "frames")
    assert report.complete, str(report.to_dict())


@pytest.mark.parametrize(
    ("wrong", "setting", "said"),
    [
        ({"password": "wrong"}, "streams.security.password", "Invalid username or password"),
        ({"username": "nobody"}, "streams.security.username", "Invalid username or password"),
        ({"sasl_mechanism": "SCRAM-SHA-512"}, "streams.security.password", "invalid credentials"),
        ({"sasl_mechanism": "SCRAM-SHA-256"}, "streams.security.sasl_mechanism", "Unsupported SASL mechanism"),
        ({"ca_file": "stranger"}, "streams.security.ca_file", "certificate verify failed"),
        ({"ca_file": None}, "streams.security.ca_file", "certificate verify failed"),
    ],
    ids=["password", "username", "scram", "mechanism", "stranger", "no-authority"],
)
def test_a_refusal_names_the_setting_at_once(
    secured: Secured, wrong: dict[str, str | None], setting: str, said: str
) -> None:
    if wrong.get("ca_file") == "stranger":
        wrong = {"ca_file": str(secured.stranger)}
    began = time.monotonic()
    with pytest.raises(BrokerRefusedError) as raised:
        FrameProducer("door", config=secured.config(**wrong))
    assert time.monotonic() - began < 6  # not after connect_timeout_s of trying on
    assert setting in str(raised.value)
    assert secured.address in str(raised.value)
    assert said in str(raised.value)
    assert exit_code_of(raised.value) is Exit.USAGE


def test_a_certificate_for_another_name_is_refused_and_the_check_can_be_left_out(secured: Secured) -> None:
    port = secured.address.rpartition(":")[2]
    named = secured.config().model_copy(update={"bootstrap_servers": (f"localhost:{port}",)})
    with pytest.raises(BrokerRefusedError, match=r"streams\.security\.check_hostname.*localhost"):
        open_producer(named)
    unchecked = named.security.model_copy(update={"check_hostname": False})
    assert describe_cluster(named.model_copy(update={"security": unchecked})).brokers == 1


def test_a_file_that_is_not_there_is_named(secured: Secured) -> None:
    with pytest.raises(SecurityFileError, match=r"streams\.security\.ca_file.*missing\.pem"):
        open_producer(secured.config(ca_file="missing.pem"))


def test_a_file_that_holds_no_certificate_is_named(secured: Secured, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    with pytest.raises(StreamError, match=r"streams\.security.*ssl\.ca\.location"):
        open_producer(secured.config(ca_file=str(broken)))


def test_a_listener_without_tls_is_named(kafka: str) -> None:
    security = SecurityConfig(protocol="SSL")
    with pytest.raises(BrokerUnavailableError, match=r"speaks SSL.*streams\.security\.protocol"):
        open_producer(StreamsConfig(bootstrap_servers=(kafka,), security=security, connect_timeout_s=1))


def test_plain_text_at_a_tls_listener_is_named(secured: Secured) -> None:
    config = StreamsConfig(bootstrap_servers=(secured.address,), connect_timeout_s=1)
    with pytest.raises(BrokerUnavailableError, match=r"speaks PLAINTEXT.*streams\.security\.protocol"):
        open_producer(config)
