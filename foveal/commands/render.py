"""`foveal render`: a Mitsuba scene at a quarter of a sample per pixel, into OpenEXR files and, if asked, into Kafka."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["render"]

EXAMPLES = """
Needs Mitsuba (`make setup-train`). A stopped run goes on where it was. Frames have the channels of
docs/offline.md; without `--camera-path` a smooth path through free space is made and left in `OUT/cameras.json`.

Examples:

    foveal render kitchen/scene.xml --out out/kitchen

    foveal render kitchen/scene.xml --frames 48 --size 480x270 --reference-spp 256 --out out/kitchen

    foveal render kitchen/scene.xml --camera-path path.json --out out/kitchen --kafka --stream kitchen
"""


def render(
    scene: Annotated[Path, typer.Argument(metavar="SCENE.xml", help="A Mitsuba 3 scene.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the frames go: 0000.exr, 0001.exr, ...")],
    camera_path: Annotated[Path | None, typer.Option(help="Cameras in JSON: one a frame, or keys of a curve.")] = None,
    frames: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 24,
    size: Annotated[str, typer.Option(metavar="WxH", help="In pixels.")] = "480x270",
    reference_spp: Annotated[int, typer.Option(min=0, help="Samples a pixel of references, denoised; 0: none.")] = 0,
    reference_from: Annotated[int, typer.Option(min=0, help="The first frame that gets a reference.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples, and of the path that is made.")] = 0,
    kafka: Annotated[bool, typer.Option("--kafka", help="Send each frame to `foveal.gbuffers` too.")] = False,
    stream: Annotated[str, typer.Option("--stream", "-s", help="Its id there; the name of --out when left out.")] = "",
    config: Annotated[Path | None, typer.Option(help="Settings in YAML, for --kafka.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Render what a real-time ray tracer would hand over, with a progress bar; resumable."""
    from contextlib import ExitStack

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from foveal.producers import GBufferProducer
    from foveal.renderer import run_renderer
    from foveal.settings import load_settings
    from training.ssr.frames import read_frame

    arguments = [str(scene), "--out", str(out), "--size", *_size(size), "--frames", str(frames), "--seed", str(seed)]
    arguments += ["--reference-spp", str(reference_spp), "--reference-from", str(reference_from)]
    if camera_path is not None:
        arguments += ["--camera-path", str(camera_path)]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    stream_id = stream or out.resolve().name
    began_s = time.monotonic()
    with ExitStack() as opened:
        producer = None
        if kafka:
            settings = load_settings(config).streams
            producer = opened.enter_context(GBufferProducer(stream_id, config=settings))
        progress = opened.enter_context(Progress(*columns, console=Console(stderr=True), disable=as_json))
        task = progress.add_task(str(scene), total=frames)
        for done, _count in run_renderer("training.ssr.offline", arguments):
            if producer is not None:
                frame = read_frame(out / f"{done - 1:04d}.exr")
                producer.send(frame.planes, scene=stream_id, fresh=done == 1, exposure=1.0)
            progress.update(task, completed=done)
        if producer is not None:
            producer.flush()
    summary = {"frames": frames, "out": str(out), "seconds": round(time.monotonic() - began_s, 1)}
    if kafka:
        summary["stream"] = stream_id
    if as_json:
        typer.echo(json.dumps(summary))
        return
    sent = f", sent as the stream {stream_id!r}" if kafka else ""
    typer.echo(f"{frames:,} frames in {out}{sent}; next: foveal reconstruct {out} --out {out}-whole")


def _size(text: str) -> tuple[str, str]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None or not all(16 <= int(side) <= 16384 for side in found.groups()):
        raise typer.BadParameter(f"expected WxH in pixels, 16 to 16384 each, such as 480x270, got {text!r}")
    return found[1], found[2]


render.__doc__ = f"{render.__doc__}\n{EXAMPLES}"
