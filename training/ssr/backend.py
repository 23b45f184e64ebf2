"""Mitsuba with the variant `llvm_ad_rgb`, and the LLVM library that it needs.

Dr.Jit needs LLVM 16 or newer for the kernels of Mitsuba 3.9 (LLVM 15 ends the process in instruction selection), and
takes the first library that it finds. So the newest one is named to it before the import.
"""

from __future__ import annotations

import glob
import importlib
import os
import re
from types import ModuleType

__all__ = ["MitsubaMissingError", "load_mitsuba"]

OLDEST_LLVM = 16
PLACES = ("/usr/lib/*/libLLVM*.so*", "/usr/lib/llvm-*/lib/libLLVM*.so*", "/usr/local/lib/libLLVM*.so*")
VARIANT = "llvm_ad_rgb"


class MitsubaMissingError(ImportError):
    """Mitsuba, or the LLVM library that its fast variant needs, is not installed."""


def load_mitsuba() -> ModuleType:
    """Import Mitsuba with the variant `llvm_ad_rgb`.

    A DRJIT_LIBLLVM_PATH that is already set wins. Raises: MitsubaMissingError.
    """
    if "DRJIT_LIBLLVM_PATH" not in os.environ:
        found = sorted((version, path) for path in _libraries() if (version := _version(path)) >= OLDEST_LLVM)
        if not found:
            raise MitsubaMissingError(
                f"rendering needs LLVM {OLDEST_LLVM} or newer (Debian: `apt-get install libllvm19`); if it lies "
                "elsewhere, set DRJIT_LIBLLVM_PATH to the library"
            )
        os.environ["DRJIT_LIBLLVM_PATH"] = found[-1][1]
    try:
        mitsuba = importlib.import_module("mitsuba")
    except ImportError as error:
        raise MitsubaMissingError("Mitsuba 3 is not installed; use the environment of `make setup-train`") from error
    mitsuba.set_variant(VARIANT)
    return mitsuba


def _libraries() -> list[str]:
    return [path for pattern in PLACES for path in glob.glob(pattern)]


def _version(path: str) -> int:
    numbers = re.findall(r"\d+", os.path.basename(os.path.realpath(path)))
    return int(numbers[0]) if numbers else 0
