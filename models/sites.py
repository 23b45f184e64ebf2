"""Embedders that were adapted to a site: which one serves, and where they lie.

They are of the shipped network's shape, in a folder of the site's own: `reid-nano-3+lobby.1` is the first that was
adapted from reid-nano 3 with the pictures of "lobby". The name is the model epoch, so galleries never mix vectors.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.errors import SpecError, WeightsMissingError

if TYPE_CHECKING:
    from models.spec import ModelSpec

__all__ = ["ReidConfig", "embedder_spec", "list_networks", "next_network", "serving_spec"]

NAME = re.compile(r"(?P<base>[a-z][a-z0-9-]*)-(?P<version>\d+)(\+(?P<site>[A-Za-z0-9][A-Za-z0-9_\-]*\.\d+))?")


class ReidConfig(BaseModel):
    """Which network makes the embeddings of people. One for a whole application: galleries hold vectors of one each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str | None = Field(
        default=None, description="One that `foveal adapt` made, as reid-nano-3+lobby.1; null: the shipped one."
    )
    folder: Path = Field(
        default=Path(".foveal/networks"), description="Where adapted networks lie; the same on every machine."
    )

    @field_validator("folder")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.absolute()  # replicas run in folders of their own


def serving_spec(config: ReidConfig) -> ModelSpec:
    """The network that the settings name, there and whole by its record. Raises: WeightsMissingError, SpecError."""
    from models.reid.spec import REID_NANO

    if config.network is None:
        return REID_NANO
    return embedder_spec(config.network, config.folder)


def embedder_spec(name: str, folder: Path) -> ModelSpec:
    """A network by its model epoch: the shipped one, or an adapted one in the folder.

    Raises: WeightsMissingError that names those that are there, SpecError.
    """
    from models.reid.spec import REID_NANO

    if name == REID_NANO.stem:
        return REID_NANO
    match = NAME.fullmatch(name)
    if match is None or match["base"] != REID_NANO.name or match["site"] is None:
        raise SpecError(
            f"reid.network: expected {REID_NANO.stem}, or an adapted one such as {REID_NANO.stem}+lobby.1, got {name!r}"
        )
    spec = dataclasses.replace(REID_NANO, version=int(match["version"]), site=match["site"], folder=folder)
    if not spec.record_path.is_file():
        known = ", ".join([REID_NANO.stem, *list_networks(folder)])
        raise WeightsMissingError(
            spec.record_path, f"known here are {known}; `foveal adapt` makes one, reid.folder says where they lie"
        )
    spec.record()
    return spec


def list_networks(folder: Path) -> list[str]:
    """The model epochs of the adapted networks in a folder."""
    found = (path.name.removesuffix(".json") for path in sorted(folder.glob("*.json")))
    return [name for name in found if (match := NAME.fullmatch(name)) is not None and match["site"]]


def next_network(site: str, folder: Path) -> ModelSpec:
    """What the next network adapted to a site will be: its number is one more than that of the last.

    Raises: SpecError for a site's name that cannot be part of a file's.
    """
    from models.reid.spec import REID_NANO

    numbers = [
        int(match["number"])
        for name in list_networks(folder)
        if (match := re.fullmatch(r".+\+(?P<site>.+)\.(?P<number>\d+)", name)) is not None and match["site"] == site
    ]
    spec = dataclasses.replace(REID_NANO, site=f"{site}.{max(numbers, default=0) + 1}", folder=folder)
    if NAME.fullmatch(spec.stem) is None:
        raise SpecError(f"site: expected letters, digits, '_' and '-', got {site!r}; name it by --site")
    return spec
