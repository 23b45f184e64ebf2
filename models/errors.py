"""The errors of networks and engines: a small tree, each message with its remedy."""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "BuildError",
    "CompilerMissingError",
    "DigestError",
    "DownloadError",
    "EngineError",
    "InputShapeError",
    "ModelError",
    "RegistryError",
    "SpecError",
    "TopologyError",
    "UnknownModelError",
    "UnsupportedLayersError",
    "WeightsMissingError",
]


class ModelError(Exception):
    """Anything that models/ raises on its own account."""

    retriable = False


class SpecError(ModelError, ValueError):
    """A ModelSpec contradicts itself or the network that it describes."""


class UnknownModelError(ModelError, KeyError):
    """No network of that name in the catalogue."""

    def __init__(self, name: str, known: list[str]) -> None:
        self.name = name
        self.known = known
        super().__init__(name)

    def __str__(self) -> str:
        return f"no network named {self.name!r}; known: {', '.join(self.known) or 'none'} (`foveal models list`)"


class WeightsMissingError(ModelError, FileNotFoundError):
    """A file of a network's weights is not there."""

    def __init__(self, path: Path, remedy: str) -> None:
        self.path = path
        super().__init__(f"{path}: not found; {remedy}")


class DigestError(ModelError, ValueError):
    """A file is not the one that its spec names: cut off, changed, or of another version."""

    def __init__(self, path: Path | str, expected: str, came: str, remedy: str) -> None:
        self.path = path
        self.expected = expected
        self.came = came
        super().__init__(f"{path}: expected SHA-256 {expected}, got {came}; {remedy}")


class TopologyError(ModelError, ValueError):
    """Topology and weights do not belong together: a tensor is missing, spare, or of another shape."""


class DownloadError(ModelError, ConnectionError):
    """A public weight file could not be fetched."""

    retriable = True


class EngineError(ModelError, RuntimeError):
    """A compiled engine refused to run."""


class InputShapeError(EngineError, ValueError):
    """The arrays given do not fit the inputs of the engine."""


class CompilerMissingError(EngineError, ImportError):
    """The package of the compiler that the configuration asks for is not installed or finds no device."""


class BuildError(EngineError):
    """The compiler did not produce an engine."""


class UnsupportedLayersError(BuildError):
    """The compiler could not take some layers; `layers` says which and why."""

    def __init__(self, model: str, compiler: str, layers: tuple[str, ...]) -> None:
        self.model = model
        self.layers = layers
        listed = "; ".join(layers)
        super().__init__(
            f"{model}: {compiler} could not take {len(layers)} layer(s): {listed}; "
            "write them with operators that it knows, or set engine.compiler: openvino"
        )


class RegistryError(ModelError, OSError):
    """The folder of compiled engines cannot be used."""
