"""How engines are compiled and run: one typed object, part of the application's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["CompilerName", "EngineConfig", "Precision"]

CompilerName = Literal["openvino", "tensorrt"]
Precision = Literal["f32", "bf16", "f16", "int8"]


class EngineConfig(BaseModel):
    """`auto` takes TensorRT where it is installed and a GPU answers, else OpenVINO.

    OpenVINO's `auto` precision is int8 for the convolutions of networks whose activations were measured
    (`models.quantization`), and bf16 where the processor has it, else f32, for everything else. `int8` says so
    outright; bf16, f16 and f32 are for all layers. TensorRT has f32 (TF32) alone.

    `threads` is per engine (None: all cores), shared among `streams` inferences that OpenVINO runs side by side. One
    stream is the fastest on an idle machine. Threads of one inference wait for each other, so beside a broker and
    decoders, which take the cores in turn, two answer sooner: None is two for perception, else one.
    `device` is the index of the GPU. `cache_dir` is the folder of compiled engines; None keeps none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    compiler: Literal["auto", "openvino", "tensorrt"] = "auto"
    precision: Literal["auto", "f32", "bf16", "f16", "int8"] = "auto"
    threads: int | None = Field(default=None, ge=1, le=512)
    streams: int | None = Field(default=None, ge=1, le=64)
    device: int = Field(default=0, ge=0)
    cache_dir: Path | None = None
    cache_max_bytes: int = Field(default=4 << 30, ge=1 << 20)
