"""How people are followed from frame to frame."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["CameraMotionMode", "Method", "TrackingConfig"]

Method = Literal["bytetrack", "ocsort", "botsort", "cbiou", "sort"]
CameraMotionMode = Literal["auto", "always", "off"]


class TrackingConfig(BaseModel):
    """Scores are the detector's. A track is confirmed after `confirm_frames` frames in a row and kept for `lost_s`.

    Detections from `high_score` on are matched first; those below only keep a known track alive (ByteTrack, Zhang et
    al., ECCV 2022, section 3). From `new_score` on an unmatched one begins a track. `frame_rate` is what a stream
    without capture times is taken to have. `camera_motion` lets `botsort` make up for a moving camera.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = "botsort"
    high_score: float = Field(default=0.5, ge=0, le=1)
    new_score: float = Field(default=0.6, ge=0, le=1)
    confirm_frames: int = Field(default=2, ge=1, le=30)
    lost_s: float = Field(default=1.5, ge=0, le=60)
    frame_rate: float = Field(default=30.0, gt=0, le=1000)
    camera_motion: CameraMotionMode = "auto"
    same_cosine: float = Field(default=0.5, ge=-1, le=1)
    different_cosine: float = Field(default=0.2, ge=-1, le=1)
    remember_s: float = Field(default=10.0, ge=0, le=600)

    @field_validator("camera_motion", mode="before")
    @classmethod
    def _yaml_says_no(cls, value: object) -> object:
        return {True: "always", False: "off"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _in_order(self) -> TrackingConfig:
        if self.new_score < self.high_score:
            raise ValueError(
                f"new_score: expected at least high_score ({self.high_score}), got {self.new_score}; "
                "raise tracking.new_score or lower tracking.high_score"
            )
        if self.camera_motion == "always" and self.method != "botsort":
            raise ValueError(f"camera_motion: only botsort makes up for it, got method {self.method}")
        if self.same_cosine <= self.different_cosine:
            raise ValueError(
                f"same_cosine: expected more than different_cosine ({self.different_cosine}), got {self.same_cosine}"
            )
        return self
