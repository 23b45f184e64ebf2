"""`foveal push`: frames of a file, a folder, a camera or an RTSP address into Kafka."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["push"]

EXAMPLES = """
Examples:

    foveal push street.mp4 --stream door-1

    foveal push rtsp://camera.local/stream --stream door-2 --codec h264

    foveal push pictures/ --stream album --fast

    foveal push 0 --stream webcam --seconds 30
"""


def push(
    source: Annotated[str, typer.Argument(help="Video file, folder of pictures, camera index or rtsp:// address.")],
    stream: Annotated[str, typer.Option("--stream", "-s", help="The stream's id; a file's name when left out.")] = "",
    codec: Annotated[str, typer.Option(help="jpeg, png, h264, hevc or raw-bgr24.")] = "jpeg",
    quality: Annotated[int, typer.Option(min=1, max=100, help="JPEG quality.")] = 90,
    fast: Annotated[bool, typer.Option("--fast", help="As fast as the broker takes it, not in real time.")] = False,
    fps: Annotated[float, typer.Option(min=0, help="Frames a second; 0: what the source declares.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=0, help="Stop after this long; 0: at the end of the source.")] = 0.0,
    loop: Annotated[int, typer.Option(min=1, help="Play a file or folder so many times.")] = 1,
    config: Annotated[Path | None, typer.Option(help="Settings in YAML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Push frames into Kafka, in real time or as fast as possible, with a progress bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from foveal.media import open_source
    from foveal.producers import FrameProducer
    from foveal.settings import load_settings

    opened = open_source(source)
    rate = fps or opened.fps
    stream_id = stream or (Path(source).stem if not source.isdigit() else f"camera-{source}")
    streams = load_settings(config).streams
    total = None if opened.frames is None else opened.frames * loop
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} fps"), TimeElapsedColumn(),
    )  # fmt: skip
    started = time.monotonic()
    sent = 0
    with (
        FrameProducer(stream_id, codec=codec, quality=quality, fps=rate, config=streams) as producer,
        Progress(*columns, console=Console(stderr=True), disable=as_json) as progress,
    ):
        task = progress.add_task(f"{stream_id} ({codec})", total=total, rate=0.0)
        for turn in range(loop):
            for frame in opened if turn == 0 else open_source(source):
                elapsed_s = time.monotonic() - started
                if seconds and elapsed_s >= seconds:
                    break
                if not fast and not opened.live:
                    time.sleep(max(0.0, sent / rate - elapsed_s))
                producer.send(frame.image_bgr)
                sent += 1
                progress.update(task, completed=sent, rate=sent / max(time.monotonic() - started, 1e-6))
        producer.flush()
    elapsed_s = time.monotonic() - started
    summary = {"stream": stream_id, "frames": sent, "seconds": round(elapsed_s, 3), "fps": round(sent / elapsed_s, 2)}
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        typer.echo(f"{sent:,} frames of {stream_id!r} acknowledged in {elapsed_s:.1f} s")


push.__doc__ = f"{push.__doc__}\n{EXAMPLES}"
