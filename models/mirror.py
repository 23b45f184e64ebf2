"""Public weights: from a mirror folder if it has them, else from their official address; digest checked, never half."""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from models.errors import DigestError, DownloadError
from models.weights import sha256_of

__all__ = ["Progress", "PublicWeights", "pull"]

Progress = Callable[[int, int | None], None]
"""Told the bytes so far and the whole size, None where the server does not say."""

CHUNK_BYTES = 1 << 16
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class PublicWeights:
    """Somebody else's network, named but never shipped.

    `sha256` lists the digests that are accepted, the official file's first. `address` is None where the authors
    offer no such file: then only a mirror has it, and `page` says where it comes from.
    """

    name: str
    file: str
    sha256: tuple[str, ...]
    licence: str
    page: str
    meaning: str
    address: str | None = None

    def find(self, folder: Path) -> Path | None:
        """Its file in a folder, if it is one of the right ones."""
        path = folder / self.file
        return path if path.is_file() and sha256_of(path) in self.sha256 else None


def pull(weights: PublicWeights, folder: Path, mirror: Path | None = None, progress: Progress | None = None) -> Path:
    """Have the file in `folder`, fetched only if it is not there yet.

    Raises: DownloadError (no answer, or no address and not in the mirror), DigestError (another file came; nothing is
    kept), OSError if the folder cannot be written.
    """
    if (there := weights.find(folder)) is not None:
        return there
    folder.mkdir(parents=True, exist_ok=True)
    copy = mirror / weights.file if mirror is not None else None
    if copy is not None and copy.is_file():
        with copy.open("rb") as source:
            return _keep(weights, folder, source, copy.stat().st_size, str(copy), progress)
    if weights.address is None:
        raise DownloadError(
            f"{weights.name}: its authors offer no such file for download ({weights.page}); put {weights.file} with "
            f"SHA-256 {weights.sha256[0]} into a folder and name that in FOVEAL_MODEL_MIRROR"
        )
    try:
        with urllib.request.urlopen(weights.address, timeout=TIMEOUT_S) as source:
            length = source.headers.get("Content-Length")
            return _keep(weights, folder, source, int(length) if length else None, weights.address, progress)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DownloadError(
            f"{weights.name}: {weights.address} does not answer ({reason}); try again, or put {weights.file} into a "
            "folder and name that in FOVEAL_MODEL_MIRROR"
        ) from error


def _keep(
    weights: PublicWeights, folder: Path, source: BinaryIO, size: int | None, origin: str, progress: Progress | None
) -> Path:
    """Copy under another name, check, rename."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{weights.file}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as target:
            os.fchmod(handle, 0o644)
            if progress is None:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
            else:
                _copy_shown(source, target, size, progress)
            target.flush()
            os.fsync(target.fileno())
        came = sha256_of(part)
        if came not in weights.sha256:
            raise DigestError(
                origin, " or ".join(weights.sha256), came, "it is cut off or another version; nothing was kept"
            )
        final = folder / weights.file
        os.replace(part, final)
        return final
    finally:
        part.unlink(missing_ok=True)


def _copy_shown(source: BinaryIO, target: BinaryIO, size: int | None, progress: Progress) -> None:
    done = 0
    while chunk := source.read(CHUNK_BYTES):
        target.write(chunk)
        done += len(chunk)
        progress(done, size)
