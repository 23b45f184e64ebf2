"""Settings of the galleries: where Redis is, how long to wait for it, and the bounds of what is kept."""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

__all__ = ["GalleryConfig"]

SCHEMES = ("redis", "rediss", "unix")


class GalleryConfig(BaseModel):
    """The section `gallery` of the application's configuration. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(default="redis://127.0.0.1:6379/0", description="redis://, rediss:// (TLS) or unix:// address")
    cluster: bool = Field(default=False, description="the address is a node of a Redis Cluster")
    username: str | None = None
    password: SecretStr | None = None
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    connect_timeout_s: float = Field(default=2.0, gt=0, le=30)
    timeout_s: float = Field(default=3.0, gt=0, le=60, description="longest wait for one answer")
    stale_after_s: float = Field(
        default=5.0, gt=0, description="after so long without an answer a match is `unavailable`"
    )
    heartbeat_s: float = Field(
        default=0.25, gt=0, le=1, description="how often an index compares itself with the server"
    )
    canaries_every_s: float = Field(
        default=30.0, gt=0, description="how often an index looks up identities that it reads from the server"
    )
    expire_every_s: float = Field(
        default=3600.0, gt=0, description="how often a gateway removes identities whose gallery's expiry has come"
    )
    max_identities: int = Field(default=100_000, gt=0)
    vectors_per_identity: int = Field(
        default=64, gt=0, le=1024, description="positive ones, and as many negatives; the least worth keeping go"
    )
    undo_maxlen: int = Field(default=1_000, gt=0, le=10_000, description="newest changes that can be undone")
    log_maxlen: int = Field(
        default=100_000, gt=0, description="entries of the change log; an index further behind reloads"
    )
    sightings_maxlen: int = Field(default=1_000, gt=0, description="newest sightings kept for each identity")
    events_maxlen: int = Field(
        default=100_000, gt=0, description="event ids remembered, so that a retry does nothing twice"
    )
    audit_maxlen: int = Field(default=1_000_000, gt=0)
    audit_retention_s: int = Field(
        default=30 * 86_400, gt=0, description="how long the audit trail outlives its gallery"
    )
    storage: Literal["float32", "float16"] = "float32"
    query_index: bool = Field(
        default=True, description="where the server has a query engine, new galleries are indexed for it"
    )
    crop_key: SecretStr | None = Field(
        default=None, description="encrypts kept crops; made by `foveal gallery crop-key`"
    )
    crop_key_file: Path | None = Field(default=None, description="a file of such keys, the first one encrypts")
    default_threshold: float = Field(default=0.6, ge=-1, le=1, description="cosine from which a match is `known`")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        parts = urlsplit(url)
        try:
            named = parts.scheme in SCHEMES and bool(parts.path if parts.scheme == "unix" else parts.hostname)
            _ = parts.port
        except ValueError:
            named = False
        if not named:
            raise ValueError(
                f"expected redis://host:port/db, rediss://host:port/db or unix:///socket, "
                f"got {_redact(url)!r}; set gallery.url or FOVEAL_REDIS__URL"
            )
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        named = [n for n in ("tls_ca_file", "tls_cert_file", "tls_key_file") if getattr(self, n) is not None]
        if named and urlsplit(self.url).scheme != "rediss":
            raise ValueError(f"{named[0]}: expected gallery.url to be rediss:// with it, got {self.address!r}")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file: expected together with gallery.tls_key_file; set both or neither")
        if self.timeout_s <= self.heartbeat_s:
            raise ValueError(
                f"timeout_s: expected more than gallery.heartbeat_s ({self.heartbeat_s}), got {self.timeout_s}"
            )
        if self.stale_after_s <= 2 * self.heartbeat_s:
            raise ValueError(
                f"stale_after_s: expected more than twice gallery.heartbeat_s ({self.heartbeat_s}), "
                f"got {self.stale_after_s}"
            )
        return self

    @property
    def address(self) -> str:
        """The server's address without credentials, for messages."""
        return _redact(self.url)


def _redact(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://{tail}" if at else url
