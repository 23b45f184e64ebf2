"""Speed, latency and memory of the whole service beside the bare loop, in one run of about six minutes on two cores.

    python -m benchmarks                       # all three; writes benchmarks/results/<version>/
    python -m benchmarks --quick               # a smoke run in about a minute: proves that it works, measures nothing
    python -m benchmarks --only throughput latency --out /tmp/bench

It brings up its own Kafka, Valkey and Ray and stops them. Run it on a machine that does nothing else: the load before
it stands in the results. Exit code 1 if an aim was missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.bareloop import running_bare_loop
from benchmarks.footage import load_footage
from benchmarks.latency import AIMED_LOAD, measure_latency
from benchmarks.machine import describe_machine
from benchmarks.memory import measure_memory
from benchmarks.report import markdown, write_report
from benchmarks.service import Sender, running_service, running_stack
from benchmarks.throughput import measure_throughput

__all__ = ["main", "missed_aims"]

PARTS = ("throughput", "latency", "memory")
SMALL_WH = (320, 180)  # of the guests in the memory part: many streams, little work each


@dataclass(frozen=True)
class _Amounts:
    streams: tuple[int, ...]
    frames: int
    repeats: int
    latency_frames: int
    guests: int
    waves: int


FULL = _Amounts((1, 4, 16), 480, 5, 480, 1000, 20)
QUICK = _Amounts((1, 4), 96, 1, 60, 40, 4)


def main() -> int:
    """Measure, write, and say whether the aims were met."""
    options = _options()
    amounts = QUICK if options.quick else FULL
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    footage = load_footage(120)
    say(f"{len(footage.jpegs)} frames of {footage.title}")
    report: dict[str, Any] = {
        "version": version("foveal"),
        "quick": options.quick,
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "machine": describe_machine(),
        "footage": {
            "title": footage.title,
            "jpeg_kib": round(sum(map(len, footage.jpegs)) / len(footage.jpegs) / 1024),
        },
    }
    with running_stack() as config, running_bare_loop(config, footage) as bare:
        say("the bare loop is warm")
        # Once with nothing else up: what the idle service costs the bare loop is then seen beside it.
        report["bare_alone"] = {str(count): bare.rate(count, amounts.frames) for count in amounts.streams}
        with running_service(config) as session, Sender(config.streams, footage) as sender:
            say("the service is up")
            sender_small = Sender(config.streams, load_footage(8, SMALL_WH))
            if "throughput" in options.only or "latency" in options.only:
                report["throughput"] = measure_throughput(
                    config.streams,
                    bare,
                    sender,
                    streams=amounts.streams,
                    frames=amounts.frames,
                    repeats=amounts.repeats,
                    say=say,
                )
            if "latency" in options.only:
                row = next(row for row in report["throughput"] if row["streams"] == 4)
                report["latency"] = measure_latency(
                    config.streams,
                    bare,
                    footage,
                    saturated_fps=sorted(row["service_fps"])[len(row["service_fps"]) // 2],
                    frames=amounts.latency_frames,
                    say=say,
                )
            if "memory" in options.only:
                with sender_small:
                    report["memory"] = measure_memory(
                        session, sender_small, streams=amounts.guests, waves=amounts.waves, say=say
                    )
    report["seconds"] = round(time.monotonic() - began, 1)
    paths = write_report(options.out, report)
    print(markdown(report))
    print("written: " + ", ".join(str(path) for path in paths))
    missed = missed_aims(report)
    for line in missed:
        print(f"missed: {line}")
    return 1 if missed and not options.quick else 0


def missed_aims(report: dict[str, Any]) -> list[str]:
    """What fell short, a line each."""
    missed = [
        f"{row['streams']} streams: {row['ratio']:.2f} of the bare loop, aim {row['target']}"
        for row in report.get("throughput", [])
        if row["ratio"] < row["target"]
    ]
    if "latency" in report:
        row = next(row for row in report["latency"] if row["load"] == AIMED_LOAD)
        added, aims = row["added_ms"], row["target_ms"]
        missed += [
            f"added latency {share}: {added[share]:.1f} ms, aim {aims[share]:g} ms"
            for share in aims
            if added[share] > aims[share]
        ]
    if "memory" in report:
        growth, aim = report["memory"]["growth"], report["memory"]["target"]
        missed += [f"memory: {growth:+.1%}, aim ±{aim:.0%}"] if abs(growth) > aim else []
    return missed


def _options() -> argparse.Namespace:
    default = Path(__file__).parent / "results" / version("foveal")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run; writes to out/bench unless --out is given")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="latency runs throughput too")
    parser.add_argument("--out", type=Path, help=f"folder of the results (default {default.name} under results/)")
    options = parser.parse_args()
    options.out = options.out or (Path("out/bench") if options.quick else default)
    return options


if __name__ == "__main__":
    sys.exit(main())
