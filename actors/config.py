"""One typed YAML for the whole application: what runs where, and what is computed for which stream.

Nothing else in the application reads the environment. `FOVEAL_<SECTION>__<KEY>` overrides one setting, such as
`FOVEAL_STREAMS__BOOTSTRAP_SERVERS`; `FOVEAL_KAFKA__...` and `FOVEAL_REDIS__...` are the same as
`FOVEAL_STREAMS__...` and `FOVEAL_GALLERY__...`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from actors.errors import ConfigError
from gallery.config import GalleryConfig
from models.engine.config import EngineConfig
from models.sites import ReidConfig
from models.tracking.config import TrackingConfig
from streams.config import StreamsConfig

__all__ = [
    "AppConfig",
    "AutoscalingConfig",
    "Capability",
    "GatewayConfig",
    "HealthConfig",
    "LoopConfig",
    "PerceptionConfig",
    "PlacementConfig",
    "Privacy",
    "ReconstructionConfig",
    "RenderRule",
    "StreamRule",
    "load_config",
    "parse_config",
]

Capability = Literal["people", "identities", "expressions"]
Freshness = Literal["latest", "all"]
Privacy = Literal["none", "blur", "pixelate"]

PREFIX = "FOVEAL_"
SECTION_ALIASES = {"kafka": "streams", "redis": "gallery"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Rule(_Frozen):
    """Settings of the streams whose id matches; of several rules the first that matches holds."""

    match: str = Field(
        default="*", min_length=1, description="Shell pattern on the stream id, as cam-* or site-?/door."
    )
    freshness: Freshness = Field(
        default="latest",
        description="latest: a frame older than max_age_ms is dropped, oldest first, counted; all: nothing is dropped.",
    )
    max_age_ms: int = Field(
        default=1000, ge=1, le=3_600_000, description="Age since the record's append, milliseconds."
    )


class StreamRule(_Rule):
    """What is computed for the frames of a camera; what `compute` does not name is not computed."""

    compute: tuple[Capability, ...] = ("people", "identities", "expressions")
    gallery: str = Field(default="default", min_length=1, description="Where the people of this stream are looked up.")
    privacy: Privacy = Field(
        default="none", description="How faces are hidden in every picture of this stream that the commands write."
    )

    @model_validator(mode="after")
    def _identities_need_people(self) -> Self:
        if not self.compute:
            raise ValueError("compute: expected at least one of people, identities, expressions, got none")
        if "identities" in self.compute and "people" not in self.compute:
            raise ValueError("compute: identities are found on people; add people, or take identities out")
        return self


class RenderRule(_Rule):
    """How the frames of a renderer are answered. A stream's own header `output` wins over `output` here."""

    freshness: Freshness = "all"
    output: Literal["png", "jpeg", "exr", "half"] = "png"


R = TypeVar("R", bound=_Rule)


class LoopConfig(_Frozen):
    """How much one replica takes at once. A batch is what is there, up to the bound; nothing waits for a full one."""

    max_batch_frames: int = Field(default=16, ge=1, le=1024)
    decode_threads: int = Field(default=1, ge=1, le=64, description="Threads that decode beside the inference.")
    stream_idle_s: float = Field(
        default=60.0, gt=0, description="A silent stream's tracker, decoder and history go after it."
    )
    drain_timeout_s: float = Field(default=15.0, gt=0, le=20.0, description="Flush and commit on shutdown within it.")


class HealthConfig(_Frozen):
    """When a replica counts as half dead."""

    stalled_after_s: float = Field(default=15.0, gt=0)
    check_period_s: float = Field(default=1.0, gt=0)


class AutoscalingConfig(_Frozen):
    """Replicas by consumer lag in seconds; never more than the topic has partitions."""

    enabled: bool = False
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=4, ge=1)
    target_lag_s: float = Field(default=1.0, gt=0, description="Behind by more: another replica.")
    upscale_delay_s: float = Field(default=3.0, ge=0)
    downscale_delay_s: float = Field(default=120.0, ge=0, description="Long: every rebalance costs.")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas: expected at least min_replicas ({self.min_replicas}), got {self.max_replicas}"
            )
        return self


class PlacementConfig(_Frozen):
    """What Ray sets aside for one replica."""

    num_cpus: float = Field(default=0.5, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)
    replicas: int = Field(default=1, ge=0, description="0: the deployment is left out.")


class _Actor(_Frozen, Generic[R]):
    placement: PlacementConfig = PlacementConfig()
    loop: LoopConfig = LoopConfig()
    health: HealthConfig = HealthConfig()
    autoscaling: AutoscalingConfig = AutoscalingConfig()
    streams: tuple[R, ...] = ()

    def rule(self, stream_id: str) -> R | None:
        """The first rule that matches, or None where nothing is to be computed for the stream."""
        return next((rule for rule in self.streams if fnmatchcase(stream_id, rule.match)), None)


class PerceptionConfig(_Actor[StreamRule]):
    """`foveal.frames` -> people, identities, expressions."""

    group: str = Field(default="foveal-perception", min_length=1)
    warm_sizes_wh: tuple[tuple[int, int], ...] = Field(
        default=((640, 360), (640, 480)),
        description="Engines are tuned for frames of these sizes beforehand.",
    )
    streams: tuple[StreamRule, ...] = (StreamRule(),)
    detector: str = Field(
        default="detector-nano",
        description="detector-nano, detector-small, or public ones of `foveal models list`, joined by +: "
        "yolox_nano+yunet_n_dynamic.",
    )
    detector_folder: Path = Field(
        default=Path(".foveal/models"), description="Where `foveal models pull` left public ones."
    )
    detector_threshold: float = Field(default=0.25, ge=0, le=1, description="Least score of a person or a face.")
    # The first detector scores low: tracks begin where it is surer than at the threshold (its card has the figures).
    tracking: TrackingConfig = TrackingConfig(high_score=0.25, new_score=0.4)
    embed_every_s: float = Field(
        default=0.2,
        ge=0,
        description="A person on a steady track is embedded again after it, by capture time; 0: in each frame.",
    )
    sighting_interval_s: float = Field(
        default=5.0,
        ge=0,
        description="A known person is written to the gallery's sightings once in it, for each stream.",
    )
    make_up_s: float = Field(
        default=300.0,
        ge=0,
        description="Who was seen while Redis was away is looked up if it is back within it; 0 never.",
    )

    @field_validator("detector_folder")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.absolute()  # replicas run in folders of their own


class ReconstructionConfig(_Actor[RenderRule]):
    """`foveal.gbuffers` -> renders."""

    group: str = Field(default="foveal-reconstruction", min_length=1)
    warm_sizes_wh: tuple[tuple[int, int], ...] = Field(
        default=((480, 270),),
        description="The engine is tuned for frames of these sizes beforehand.",
    )
    streams: tuple[RenderRule, ...] = (RenderRule(),)


class GatewayConfig(_Frozen):
    """The REST address of galleries and health."""

    placement: PlacementConfig = PlacementConfig(num_cpus=0.1)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535, description="0: a free one, for tests.")


class AppConfig(_Frozen):
    """The whole application."""

    streams: StreamsConfig = Field(default_factory=StreamsConfig)
    gallery: GalleryConfig = Field(default_factory=GalleryConfig)
    engine: EngineConfig = Field(default_factory=EngineConfig)
    reid: ReidConfig = Field(default_factory=ReidConfig)
    perception: PerceptionConfig = PerceptionConfig()
    reconstruction: ReconstructionConfig = ReconstructionConfig()
    gateway: GatewayConfig = GatewayConfig()


def load_config(path: str | Path | None = None, environ: Mapping[str, str] | None = None) -> AppConfig:
    """Read a YAML file (None: all defaults) and lay the environment's overrides over it.

    Raises: ConfigError that names the dotted key, what was expected, what came, and the remedy.
    """
    raw: Any = {}
    source = "the defaults"
    if path is not None:
        source = str(path)
        try:
            raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(
                f"{source}: expected a readable YAML file, got: {error.strerror}; give one such as configs/local.yaml"
            ) from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{source}: expected YAML, got: {error}; mend the file at the line named") from error
    return parse_config(raw if raw is not None else {}, environ or {}, source=source)


def parse_config(raw: object, environ: Mapping[str, str] | None = None, *, source: str = "the settings") -> AppConfig:
    """Validate what a YAML file holds, with the overrides of `environ`.

    Raises: ConfigError as `load_config`.
    """
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{source}: expected a mapping of sections ({', '.join(AppConfig.model_fields)}), "
            f"got {type(raw).__name__}; see configs/local.yaml"
        )
    merged = _with_overrides(raw, environ or {})
    try:
        return AppConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(item) for item in error.errors())) from error


def _with_overrides(raw: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in raw.items()}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        keys = name.removeprefix(PREFIX).lower().split("__")
        keys[0] = SECTION_ALIASES.get(keys[0], keys[0])
        value = _value(name, environ[name])
        node = merged
        for depth, key in enumerate(keys[:-1]):
            child = node.get(key)
            if child is not None and not isinstance(child, dict):
                raise ConfigError(
                    f"{name}: expected {'.'.join(keys[: depth + 1])} to be a section, got {type(child).__name__}; "
                    "lists are set as a whole, in YAML"
                )
            node[key] = dict(child or {})
            node = node[key]
        node[keys[-1]] = value
    return merged


def _value(name: str, text: str) -> object:
    """Scalars stay text, read by each setting's own type (a password of digits stays one); [..] and {..} are YAML."""
    if not text.lstrip().startswith(("[", "{")):
        return None if text == "null" else text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{name}: expected a YAML list or mapping, got {text!r}: {error}; mend its brackets"
        ) from error


def _explain(item: Any) -> str:
    location: tuple[str | int, ...] = item["loc"]
    key = ".".join(str(part) for part in location) or "the settings"
    given = item["input"]
    if item["type"] == "extra_forbidden":
        known = _fields_at(location[:-1])
        close = get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"take it out, or use one of: {', '.join(known)}"
        return f"{key}: expected a known setting, got the unknown {location[-1]!r}; {hint}"
    if item["type"] == "value_error":
        return f"{key}: {item['ctx']['error']}"
    message = str(item["msg"])
    expected = message[0].lower() + message[1:]
    got = f"got {given!r} ({type(given).__name__})"
    return f"{key}: expected: {expected}; {got}; set it in the YAML file or by {_variable(key)}"


def _variable(key: str) -> str:
    return PREFIX + key.upper().replace(".", "__")


def _fields_at(location: tuple[str | int, ...]) -> list[str]:
    model: Any = AppConfig
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return []
        model = _model_in(field.annotation)
        if model is None:
            return []
    return sorted(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg)) is not None), None)
