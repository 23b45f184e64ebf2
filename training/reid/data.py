"""Market-1501 crops: names, reading from a tar or a folder, the development split. Needs no torch.

Zheng et al., ICCV 2015. A name is `PPPP_cCsS_FFFFFF_NN.jpg`: identity, camera, sequence, frame, box.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["JUNK_IDENTITY", "CropSet", "NoCropsError", "development_split", "read_crops"]

JUNK_IDENTITY = -1
NAME = re.compile(r"(?P<identity>-1|\d+)_c(?P<camera>\d+)")


class NoCropsError(ValueError):
    """A tar or folder holds no crop with a Market-1501 name."""


@dataclass(frozen=True, slots=True)
class CropSet:
    """Crops in memory, sorted by name.

    Shapes: images uint8 [N, H, W, 3] BGR 0-255 (128x64 in Market-1501), identities and cameras int64 [N].
    """

    names: tuple[str, ...]
    images: NDArray[np.uint8]
    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]

    def take(self, keep: NDArray[np.bool_]) -> CropSet:
        """The crops where `keep` (bool [N]) is true."""
        names = tuple(name for name, kept in zip(self.names, keep, strict=True) if kept)
        return CropSet(names, self.images[keep], self.identities[keep], self.cameras[keep])


def read_crops(source: Path, size_wh: tuple[int, int] = (64, 128)) -> CropSet:
    """Every JPEG or PNG of a tar or folder whose name is a Market-1501 name.

    Raises: NoCropsError where there is none; FileNotFoundError; ValueError naming a picture that does not decode.
    """
    rows: list[tuple[str, NDArray[np.uint8]]] = []
    for name, data in _files(source):
        if not NAME.match(name):
            continue
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{source}: {name} is no picture that OpenCV reads; take it out or restore it")
        if image.shape[1::-1] != size_wh:
            image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
        rows.append((name, np.asarray(image, np.uint8)))
    if not rows:
        raise NoCropsError(f"{source}: no picture named like 0002_c1s1_000551_01.jpg; give a Market-1501 tar or folder")
    rows.sort(key=lambda row: row[0])
    found = [NAME.match(name) for name, _ in rows]
    return CropSet(
        names=tuple(name for name, _ in rows),
        images=np.stack([image for _, image in rows]),
        identities=np.array([int(match["identity"]) for match in found if match], np.int64),
        cameras=np.array([int(match["camera"]) for match in found if match], np.int64),
    )


def development_split(crops: CropSet, held_out: int = 120) -> tuple[CropSet, CropSet]:
    """Training and test crops: the `held_out` identities with the smallest sha256 of their four digits are the test."""
    identities = sorted(
        set(crops.identities.tolist()), key=lambda one: hashlib.sha256(f"{one:04d}".encode()).hexdigest()
    )
    test = np.isin(crops.identities, identities[:held_out])
    return crops.take(~test), crops.take(test)


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in {".jpg", ".jpeg", ".png"}:
                yield path.name, path.read_bytes()
        return
    with tarfile.open(source) as archive:
        for member in archive:
            handle = archive.extractfile(member)
            if handle is not None and Path(member.name).suffix.lower() in {".jpg", ".jpeg", ".png"}:
                yield Path(member.name).name, handle.read()
