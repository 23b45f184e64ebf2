"""The record of the reconstruction network."""

from __future__ import annotations

from pathlib import Path

from models.spec import ModelSpec, TensorSpec

__all__ = ["SIDE_MULTIPLE", "SSR"]

SIDE_MULTIPLE = 16


def _image(name: str, channels: int, meaning: str) -> TensorSpec:
    return TensorSpec(
        name,
        layout="NCHW",
        channels=channels,
        height_multiple=SIDE_MULTIPLE,
        width_multiple=SIDE_MULTIPLE,
        meaning=meaning,
    )


SSR = ModelSpec(
    name="ssr",
    version=3,
    paper="High-Quality Real-Time Rendering Using Subpixel Sampling Reconstruction, AAAI 2024",
    inputs=(
        _image(
            "frame",
            15,
            "radiance 3, mask, albedo 3, normal 3, shadow mean, transparent mean, depth, metallic, roughness",
        ),
        _image("history", 8, "of the frame before, where it is seen now: irradiance sum 3, count, output 3, agreement"),
    ),
    outputs=(
        _image("radiance", 3, "linear, in the scale of the frame's radiance"),
        _image("history_out", 7, "of this frame, not yet warped, without agreement"),
    ),
    folder=Path(__file__).parent / "weights",
    licence="Apache-2.0; rendered scenes CC0 and CC BY 3.0, their authors are in the card",
    card="models/ssr/README.md",
    by_size=True,
)
