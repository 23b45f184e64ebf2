"""Settings of everything that speaks to Kafka: addresses, security, topics, delivery, bounds.

Pure data: validated once by whoever loads it, passed on as a typed object.
"""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

__all__ = [
    "INPUT_ROLES",
    "RESULT_ROLES",
    "ROLES",
    "ConsumerConfig",
    "Delivery",
    "PublisherConfig",
    "Role",
    "SecurityConfig",
    "StreamsConfig",
    "TopicConfig",
    "TopicsConfig",
]

Role = Literal["frames", "gbuffers", "people", "expressions", "renders", "outcomes", "deadletters"]
Delivery = Literal["exactly_once", "at_least_once"]

ROLES: tuple[Role, ...] = get_args(Role)
INPUT_ROLES: tuple[Role, ...] = ("frames", "gbuffers")
RESULT_ROLES: tuple[Role, ...] = ("people", "expressions", "renders")

MIB = 1024 * 1024
MAX_RECORD_BYTES = 32 * MIB
ENVELOPE_BYTES = 16 * 1024  # what a dead letter says beside the record as it came
HOUR_MS = 3_600_000


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SecurityConfig(_Frozen):
    """How the brokers are spoken to."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="As the brokers' listener."
    )
    ca_file: str | None = Field(default=None, description="PEM file of the authorities that signed the brokers.")
    certificate_file: str | None = Field(default=None, description="PEM file of this client's certificate, for mTLS.")
    key_file: str | None = Field(default=None, description="PEM file of this client's key, for mTLS.")
    key_password: SecretStr | None = Field(default=None, description="Opens key_file.")
    check_hostname: bool = Field(default=True, description="Whether a broker's certificate must name its host.")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = Field(
        default=None, description="Goes with the SASL protocols."
    )
    username: str | None = Field(default=None, description="For PLAIN and SCRAM.")
    password: SecretStr | None = Field(default=None, description="For PLAIN and SCRAM.")
    oauth_token_provider: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:\w+$",
        description="For OAUTHBEARER: `package.module:name` of what makes kafka-python's token provider when called.",
    )

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        sasl = self.protocol.startswith("SASL")
        if sasl != (self.sasl_mechanism is not None):
            raise ValueError(
                f"streams.security.sasl_mechanism: expected {'one' if sasl else 'none'} with protocol {self.protocol}, "
                f"got {self.sasl_mechanism!r}; set streams.security.protocol and sasl_mechanism together"
            )
        wants_password = self.sasl_mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
        if wants_password and (self.username is None or self.password is None):
            raise ValueError(
                f"streams.security.username: expected a username and a password with {self.sasl_mechanism}, "
                "got none; set streams.security.username and streams.security.password"
            )
        if self.sasl_mechanism == "OAUTHBEARER" and self.oauth_token_provider is None:
            raise ValueError(
                "streams.security.oauth_token_provider: expected 'package.module:name' with OAUTHBEARER, got none; "
                "name a class of yours that extends kafka-python's AbstractTokenProvider"
            )
        return self


class TopicConfig(_Frozen):
    """One topic, as `ensure_topics` makes it."""

    name: str = Field(min_length=1, max_length=249, pattern=r"^[a-zA-Z0-9._-]+$")
    partitions: int = Field(default=4, ge=1, le=10_000, description="The unit of parallelism; only ever raised.")
    retention_ms: int = Field(default=HOUR_MS, ge=-1, description="How long records are kept; -1 for ever.")
    retention_bytes: int = Field(default=-1, ge=-1, description="How much is kept of each partition; -1 unbounded.")
    max_message_bytes: int = Field(
        default=MIB, ge=1024, le=MAX_RECORD_BYTES + ENVELOPE_BYTES, description="Largest record with its headers."
    )
    replication: int = Field(
        default=-1, ge=-1, le=16, description="Copies of each partition; -1 for the cluster's own default."
    )

    @field_validator("replication")
    @classmethod
    def _not_zero(cls, value: int) -> int:
        if value == 0:
            raise ValueError("replication: expected -1 (the cluster's default) or 1 to 16, got 0; use -1")
        return value


class TopicsConfig(_Frozen):
    """The topics by what they carry."""

    frames: TopicConfig = TopicConfig(name="foveal.frames", max_message_bytes=8 * MIB)
    gbuffers: TopicConfig = TopicConfig(name="foveal.gbuffers", max_message_bytes=MAX_RECORD_BYTES)
    people: TopicConfig = TopicConfig(name="foveal.people", retention_ms=24 * HOUR_MS)
    expressions: TopicConfig = TopicConfig(name="foveal.expressions", retention_ms=24 * HOUR_MS)
    renders: TopicConfig = TopicConfig(name="foveal.renders", max_message_bytes=MAX_RECORD_BYTES)
    outcomes: TopicConfig = TopicConfig(name="foveal.outcomes", retention_ms=24 * HOUR_MS)
    deadletters: TopicConfig = TopicConfig(
        name="foveal.deadletters", retention_ms=168 * HOUR_MS, max_message_bytes=MAX_RECORD_BYTES + ENVELOPE_BYTES
    )

    def of(self, role: Role) -> TopicConfig:
        """The topic of a role."""
        topic: TopicConfig = getattr(self, role)
        return topic

    def role_of(self, name: str) -> Role | None:
        """The role of a topic's name, None for a stranger's."""
        return next((role for role in ROLES if self.of(role).name == name), None)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [self.of(role).name for role in ROLES]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"streams.topics: expected a name of its own for each role, got {twice[0]!r} twice")
        return self


class ConsumerConfig(_Frozen):
    """How input is read."""

    max_records: int = Field(default=256, ge=1, le=100_000, description="Records that wait for the actor at most.")
    max_bytes: int = Field(
        default=96 * MIB, ge=MIB, description="Bytes that wait for the actor at most; one record may exceed it."
    )
    poll_timeout_ms: int = Field(default=200, ge=1, le=5_000, description="Longest wait of one poll.")
    fetch_max_bytes: int = Field(default=48 * MIB, ge=MIB, description="Most that one answer of a broker carries.")
    session_timeout_ms: int = Field(
        default=6_000, ge=1_000, description="A silent member is expelled after it; the brokers bound it below."
    )
    heartbeat_interval_ms: int = Field(default=1_500, ge=100, description="At most a third of session_timeout_ms.")
    max_poll_interval_ms: int = Field(default=60_000, ge=1_000, description="Longest time between two polls.")
    revoke_wait_s: float = Field(
        default=2.0,
        ge=0,
        le=30,
        description="How long a partition that leaves waits for the work on it to be published.",
    )
    start: Literal["earliest", "latest"] = Field(
        default="earliest", description="Where a group begins that has committed nothing yet."
    )

    @model_validator(mode="after")
    def _heartbeats_fit(self) -> Self:
        if self.heartbeat_interval_ms * 3 > self.session_timeout_ms:
            raise ValueError(
                f"streams.consumer.heartbeat_interval_ms: expected at most a third of session_timeout_ms "
                f"({self.session_timeout_ms // 3}), got {self.heartbeat_interval_ms}; lower it"
            )
        return self


class PublisherConfig(_Frozen):
    """How results are written."""

    queue_batches: int = Field(default=64, ge=1, le=10_000, description="Ended batches that wait at most.")
    transaction_timeout_ms: int = Field(
        default=5_000,
        ge=1_000,
        le=900_000,
        description="A dead replica's transaction blocks readers this long, plus the brokers' clean-up interval.",
    )
    retry_backoff_ms: int = Field(
        default=2, ge=1, le=10_000, description="Each transaction waits once for the markers of the one before."
    )
    delivery_timeout_ms: int = Field(
        default=30_000, ge=1_000, description="A record not taken in this time has failed."
    )
    compression: Literal["none", "lz4", "zstd"] = Field(
        default="none", description="Of whole batches; images are compressed already."
    )


class StreamsConfig(_Frozen):
    """Everything that the package needs to know."""

    bootstrap_servers: tuple[str, ...] = Field(
        default=("127.0.0.1:9092",),
        min_length=1,
        description="Brokers to begin with, host:port, comma-separated or a list.",
    )
    client_id: str = Field(
        default="foveal", min_length=1, description="How the brokers' logs and quotas name this client."
    )
    connect_timeout_s: float = Field(
        default=5.0, gt=0, le=60, description="How long to try to reach a broker before giving up."
    )
    security: SecurityConfig = SecurityConfig()
    topics: TopicsConfig = TopicsConfig()
    delivery: Delivery = Field(
        default="exactly_once",
        description="exactly_once: results and offsets in one transaction; at_least_once: faster, may repeat.",
    )
    consumer: ConsumerConfig = ConsumerConfig()
    publisher: PublisherConfig = PublisherConfig()

    @field_validator("bootstrap_servers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            host, colon, port = address.rpartition(":")
            if not (colon and host and port.isdecimal() and 0 < int(port) < 65_536):
                raise ValueError(
                    f"streams.bootstrap_servers: expected host:port, got {address!r}; write it as kafka-1:9092"
                )
        return value
