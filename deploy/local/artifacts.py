"""The broker's jars: resolved by jgo from Maven artifacts, pinned by SHA-256 in jgo.lock.toml.

`python -m deploy.local.artifacts` resolves anew and rewrites the lock file (for maintainers).
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from jgo.env import LockedDependency, LockFile
from jgo.maven import Artifact, MavenContext
from jgo.parse import Coordinate

from deploy.local.errors import ArtifactError

__all__ = ["LOCK_PATH", "classpath", "default_cache", "relock"]

LOCK_PATH = Path(__file__).with_name("jgo.lock.toml")
ROOTS = (
    "org.apache.kafka:kafka_2.13:4.3.1",
    "org.apache.kafka:kafka-tools:4.3.1",
    # "!": its bill of materials must not manage the others, it would pull an old kafka-clients in.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!",
)
# Kafka Connect and its web server come with kafka-tools; the broker and the formatter never load them.
EXCLUDED = (("org.apache.kafka", "connect-runtime"),)
DOWNLOADS_AT_ONCE = 8


def default_cache() -> Path:
    """Where downloads are kept for every checkout of a user: the XDG cache folder, `foveal/jars` in it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "foveal" / "jars"


def classpath(cache: Path | None = None, lock_path: Path = LOCK_PATH) -> list[Path]:
    """Every jar of the lock file, fetched when it is not in the cache yet.

    Several processes may call this at once: one fetches, the others wait. A jar enters the cache by a
    rename after its digest was checked, so what lies there is whole.

    Raises: ArtifactError naming the artifact, when it can't be fetched or its SHA-256 differs.
    """
    cache = cache or default_cache()
    pinned = [(item, cache / _file_name(item)) for item in LockFile.load(lock_path).dependencies]
    if any(not path.exists() for _, path in pinned):
        cache.mkdir(parents=True, exist_ok=True)
        with _exclusive(cache / ".lock"):
            missing = [(item, path) for item, path in pinned if not path.exists()]
            with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as folder:
                context = MavenContext(repo_cache=Path(folder), timeout=60)
                with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
                    list(pool.map(lambda pair: _fetch(context, *pair), missing))
    return [path for _, path in pinned]


def relock(lock_path: Path = LOCK_PATH) -> int:
    """Resolve ROOTS anew and write the lock file; returns how many jars it names."""
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=60)
        excluded = [context.project(*names) for names in EXCLUDED]
        roots = [context.create_dependency(Coordinate.parse(root), excluded) for root in ROOTS]
        inputs, transitive = context.resolver.resolve(roots)
        jars = [item for item in (*inputs, *transitive) if item.scope in (None, "compile", "runtime")]
        LockFile.from_resolved_dependencies(jars).save(lock_path)
    return len(jars)


def _file_name(item: LockedDependency) -> str:
    classifier = f"-{item.classifier}" if item.classifier else ""
    return f"{item.artifactId}-{item.version}{classifier}-{item.sha256[:12]}.{item.packaging}"


def _fetch(context: MavenContext, item: LockedDependency, path: Path) -> None:
    name = f"{item.groupId}:{item.artifactId}:{item.version}"
    artifact: Artifact = (
        context.project(item.groupId, item.artifactId)
        .at_version(item.version)
        .artifact(item.classifier or "", item.packaging)
    )
    try:
        fetched = artifact.resolve()
    except (RuntimeError, OSError) as error:
        raise ArtifactError(
            f"local stack: could not fetch {name} for the embedded Kafka broker ({error}); "
            "check the network and its proxy settings, or set streams.bootstrap_servers to a broker of your own"
        ) from error
    digest = hashlib.sha256(fetched.read_bytes()).hexdigest()
    if digest != item.sha256:
        raise ArtifactError(
            f"local stack: {name}: expected SHA-256 {item.sha256}, got {digest}; "
            "the artifact was altered on its way: don't use it, try another network"
        )
    fetched.replace(path)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold an advisory lock between processes; the kernel drops it when the holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    print(f"{relock()} jars in {LOCK_PATH}")
