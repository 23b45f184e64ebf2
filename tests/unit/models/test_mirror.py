"""Public weights come from a mirror or their address, whole and right, or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.catalogue import CATALOGUE, PUBLIC, find_public, find_spec
from models.errors import DigestError, DownloadError, UnknownModelError
from models.mirror import PublicWeights, pull

CONTENT = bytes(range(256)) * 1000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server of this machine with one file."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "net.onnx").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "www")) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def weights(address: str | None, content: bytes = CONTENT) -> PublicWeights:
    digest = hashlib.sha256(content).hexdigest()
    return PublicWeights("net", "net.onnx", (digest,), "MIT", "their page", "a test", address)


def test_a_file_is_fetched_with_progress(server: str, tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    path = pull(weights(f"{server}/net.onnx"), tmp_path / "models", progress=lambda *step: steps.append(step))
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert [entry.name for entry in path.parent.iterdir()] == ["net.onnx"]


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(CONTENT)
    assert pull(weights("http://127.0.0.1:9/never"), tmp_path) == tmp_path / "net.onnx"


def test_the_mirror_comes_first(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "net.onnx").write_bytes(CONTENT)
    path = pull(weights("http://127.0.0.1:9/never"), tmp_path / "models", tmp_path / "mirror")
    assert path.read_bytes() == CONTENT


def test_another_file_is_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(DigestError, match="nothing was kept"):
        pull(weights(f"{server}/net.onnx", b"something else"), tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_damaged_file_is_replaced(server: str, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(CONTENT[:-1])
    assert pull(weights(f"{server}/net.onnx"), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("path", ["nothing.onnx", None])
def test_no_answer_names_the_mirror(server: str, tmp_path: Path, path: str | None) -> None:
    address = f"{server}/{path}" if path else "http://127.0.0.1:9/net.onnx"
    with pytest.raises(DownloadError, match="FOVEAL_MODEL_MIRROR"):
        pull(weights(address), tmp_path)


def test_a_network_without_an_address_says_where_it_is_from(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"their page.*net\.onnx with SHA-256"):
        pull(weights(None), tmp_path)


def test_the_catalogue_is_complete() -> None:
    assert all(name == spec.name and spec.licence and spec.card for name, spec in CATALOGUE.items())
    assert all(name == public.name and public.licence for name, public in PUBLIC.items())
    assert all(len(digest) == 64 for public in PUBLIC.values() for digest in public.sha256)


@pytest.mark.parametrize("find", [find_spec, find_public])
def test_an_unknown_name_lists_the_known_ones(find: object) -> None:
    with pytest.raises(UnknownModelError, match="no network named 'nonet'; known: "):
        find("nonet")  # type: ignore[operator]
