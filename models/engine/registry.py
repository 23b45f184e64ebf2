"""Compiled engines on disk, never loaded on a mismatch.

One engine is `<model>-<key>.engine` and `<model>-<key>.json` beside it. The key is the SHA-256 of everything that an
engine depends on; the record repeats it in words together with the digest of the blob. Files are written under another
name, flushed and renamed, and a lock file lets one process build while the others wait, so any number of replicas can
share a folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import RegistryError

__all__ = ["EngineKey", "EngineRegistry", "RegistryEntry"]

FORMAT = 1
_LOG = logging.getLogger("foveal.models.engine")


@dataclass(frozen=True)
class EngineKey:
    """Everything that an engine depends on."""

    model: str
    onnx_sha256: str
    compiler: str
    compiler_version: str
    device: str
    precision: str
    profile: dict[str, Any]

    def fields(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"format": FORMAT, **vars(self)}

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the fields."""
        return hashlib.sha256(json.dumps(self.fields(), sort_keys=True).encode()).hexdigest()

    @property
    def stem(self) -> str:
        """File name without suffix."""
        return f"{self.model}-{self.compiler}-{self.digest[:20]}"


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """One engine as `foveal models list` shows it."""

    stem: str
    bytes: int
    used_at: float
    fields: dict[str, Any]


class EngineRegistry:
    """A folder of engines, bounded in size; the longest unused leave first."""

    def __init__(self, folder: Path, max_bytes: int = 4 << 30) -> None:
        """Raises: RegistryError if the folder cannot be written."""
        self.folder = folder
        self.max_bytes = max_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(
                f"engine.cache_dir: cannot create {folder}: {error.strerror}; name a folder that can be written"
            ) from error

    def get_or_build(self, key: EngineKey, build: Callable[[], bytes], *, fresh: bool = False) -> bytes:
        """The engine's blob, built and kept where there is none that fits (or always, with `fresh`).

        Raises: RegistryError if it cannot be written, and whatever `build` raises.
        """
        if not fresh and (found := self._read(key)) is not None:
            return found
        with self._lock(key):
            if not fresh and (found := self._read(key)) is not None:
                return found  # another process built it while this one waited
            began = time.perf_counter()
            blob = build()
            seconds = time.perf_counter() - began
            self._write(key, blob, seconds)
            _LOG.info("built %s for %s in %.1f s", key.model, key.device, seconds)
        self.prune(keep=key)
        return blob

    def entries(self) -> list[RegistryEntry]:
        """What is kept, the longest unused first; records that cannot be read are left out."""
        found = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(FileNotFoundError, ValueError, KeyError):  # pruned by another process, or damaged
                record = json.loads(path.read_text(encoding="utf-8"))
                blob = path.with_suffix(".engine").stat()
                found.append(RegistryEntry(path.stem, blob.st_size, blob.st_mtime, dict(record["key"])))
        return sorted(found, key=lambda entry: entry.used_at)

    def prune(self, max_bytes: int | None = None, *, keep: EngineKey | None = None) -> list[str]:
        """Remove the longest unused until the rest fits. Returns the stems removed."""
        limit = self.max_bytes if max_bytes is None else max_bytes
        entries = self.entries()
        total = sum(entry.bytes for entry in entries)
        removed = []
        for entry in entries:
            if total <= limit:
                break
            if keep is not None and entry.stem == keep.stem:
                continue
            for suffix in (".json", ".engine", ".lock"):
                (self.folder / f"{entry.stem}{suffix}").unlink(missing_ok=True)
            total -= entry.bytes
            removed.append(entry.stem)
        return removed

    def _read(self, key: EngineKey) -> bytes | None:
        """The blob if record, key and digest agree; otherwise None, and the log says why."""
        record_path, blob_path = self.folder / f"{key.stem}.json", self.folder / f"{key.stem}.engine"
        try:
            record = json.loads(record_path.read_text(encoding="utf-8"))
            blob = blob_path.read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _LOG.warning("engine %s cannot be read (%s): building it again", key.stem, error)
            return None
        if not isinstance(record, dict) or record.get("key") != key.fields():
            _LOG.warning("engine %s was built for something else: building it again", key.stem)
            return None
        if hashlib.sha256(blob).hexdigest() != record.get("sha256"):
            _LOG.warning("engine %s is damaged (its SHA-256 differs): building it again", key.stem)
            return None
        with contextlib.suppress(OSError):  # only the order of pruning suffers, e.g. on a read-only mount
            os.utime(blob_path)
        return blob

    def _write(self, key: EngineKey, blob: bytes, seconds: float) -> None:
        record = {
            "key": key.fields(),
            "sha256": hashlib.sha256(blob).hexdigest(),
            "bytes": len(blob),
            "build_s": round(seconds, 3),
        }
        try:
            self._replace(self.folder / f"{key.stem}.engine", blob)
            self._replace(self.folder / f"{key.stem}.json", json.dumps(record, indent=2, sort_keys=True).encode())
        except OSError as error:
            raise RegistryError(
                f"engine.cache_dir: cannot write {key.stem} to {self.folder}: {error.strerror}; "
                "free some space, or name another folder"
            ) from error

    def _replace(self, path: Path, content: bytes) -> None:
        """Write beside, flush to disk, rename: a reader sees the old file or the new one, never a part."""
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o644)  # replicas of other users may share the folder
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def _lock(self, key: EngineKey) -> Iterator[None]:
        """Held by one process while it builds; the system frees it when that process dies."""
        path = self.folder / f"{key.stem}.lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RegistryError(
                f"engine.cache_dir: cannot write to {self.folder}: {error.strerror}; name a folder that can be written"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
