"""A wrong setting names itself and never shows a password."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gallery.config import GalleryConfig
from gallery.connection import connect
from gallery.errors import GalleryConfigError, InvalidNameError
from gallery.keys import GalleryKeys, check_identity_id


@pytest.mark.parametrize("url", ["http://host", "redis://", "redis://host:port", "127.0.0.1:6379", ""])
def test_a_wrong_address_is_refused_with_what_was_expected(url: str) -> None:
    with pytest.raises(ValidationError, match=r"expected redis://host:port/db.*FOVEAL_REDIS__URL"):
        GalleryConfig(url=url)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"tls_ca_file": Path("ca.pem")}, "tls_ca_file"),
        ({"url": "rediss://host", "tls_cert_file": Path("c.pem")}, "tls_cert_file"),
        ({"stale_after_s": 0.3, "heartbeat_s": 0.25}, "stale_after_s"),
        ({"timeout_s": 0.1}, "timeout_s"),
        ({"default_threshold": 1.5}, "default_threshold"),
        ({"urll": "redis://host"}, "urll"),
    ],
)
def test_settings_that_do_not_fit_together_name_their_key(settings: dict[str, object], key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        GalleryConfig.model_validate(settings)


def test_no_message_shows_a_password() -> None:
    config = GalleryConfig(url="redis://ada:s3cret@host:6379/2", password="0ther")
    assert config.address == "redis://host:6379/2"
    assert "0ther" not in repr(config)
    with pytest.raises(ValidationError) as caught:
        GalleryConfig(url="redis://ada:s3cret@host", tls_ca_file=Path("ca.pem"))
    assert "s3cret" not in str(caught.value)


def test_a_missing_certificate_is_named_before_any_connection(tmp_path: Path) -> None:
    config = GalleryConfig(url="rediss://host", tls_ca_file=tmp_path / "none.pem")
    with pytest.raises(GalleryConfigError, match=r"gallery.tls_ca_file: expected a readable file"):
        connect(config)


@pytest.mark.parametrize("name", ["", "a b", "{a}", "a:b", "-a", "x" * 65, "å"])
def test_a_name_that_cannot_be_a_key_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError, match="expected 1 to 64"):
        GalleryKeys(name)


def test_all_keys_of_a_gallery_share_its_hash_tag() -> None:
    keys = GalleryKeys("lobby")
    named = [keys.meta, keys.log, keys.audit, keys.identities, keys.seen, keys.enrolments, keys.sighted]
    named += [keys.identity("a"), keys.vector("a", 0), keys.sightings("a")]
    assert all(key.startswith("foveal:{lobby}:") for key in named)
    assert keys.vector("a", 3) == "foveal:{lobby}:vector:a:3"
    with pytest.raises(InvalidNameError, match="give people's names by `name`"):
        check_identity_id("Ada Lovelace")
