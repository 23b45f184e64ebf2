"""What a benchmark ran on: a figure without its machine says nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

__all__ = ["describe_machine"]

PACKAGES = ("foveal", "ray", "kafka-python", "openvino", "numpy", "opencv-python-headless", "simplejpeg")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, load, system and the versions of what matters."""
    load1, load5, _ = os.getloadavg()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": [round(load1, 2), round(load5, 2)],
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": {name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    wanted = {"model name": "", "flags": ""}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in wanted and not wanted[name.strip()]:
            wanted[name.strip()] = value.strip()
    has = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in wanted["flags"].split()]
    return f"{wanted['model name'] or platform.processor()} ({', '.join(has) or 'no AVX2'})"
