"""The demo from start to end: start, enrol, play, draw, audit, stop."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import Progress

from actors.config import AppConfig, load_config
from foveal.accounts import audit_inputs
from foveal.demo.enrolment import enrol_people
from foveal.demo.inputs import InputMissingError, talking_face, walkers
from foveal.demo.live import live_table
from foveal.demo.rendering import render_room
from foveal.demo.report import summarize, write_annotated, write_renders, write_sheet, write_summary
from foveal.demo.sequence import EXPOSURE, GBufferSequence
from foveal.demo.stage import DemoInput, Stage
from foveal.media import open_source
from foveal.privacy import hidden_frames
from foveal.renderer import mitsuba_installed
from foveal.session import with_addresses
from foveal.settings import home_folder
from foveal.supervisor import bring_up, take_down

__all__ = ["run_demo"]

Image = NDArray[np.uint8]
GALLERY = "demo"
SETTLE_S = 20.0
# The slow street meets whatever is done for the first time; the face comes when that is over, and the renderer after
# it, as 30 frames a second and a renderer together are more than two cores hold.
FACE_START_S, RENDERER_START_S = 1.5, 6.5
SETTINGS = Path(__file__).parents[1] / "assets" / "demo.yaml"


def run_demo(out: Path, *, seconds: float, keep: bool, as_json: bool) -> bool:
    """Run it; whether every input offset has exactly one outcome and every stream had results."""
    console = Console(stderr=as_json)
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {text}", highlight=False, soft_wrap=True)

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    home = home_folder() / "demo"
    inputs, sequence = _inputs(home_folder() / "media", seconds, say, console)
    with _service(home, keep, say) as config:
        videos = [one for one in inputs if one.kind == "frames"]
        for name in enrol_people(GALLERY, videos, config):
            say(f"enrolled [bold]{escape(name)}[/bold] in the gallery {GALLERY!r}")
        stage = Stage(inputs, config.streams)
        with Live(live_table(stage.account), console=console, refresh_per_second=4, transient=as_json) as live:
            settled = stage.play(lambda: live.update(live_table(stage.account)), settle_s=SETTLE_S)
        say("played; every frame has its outcome" if settled else f"[red]not settled after {SETTLE_S:.0f} s[/red]")
        report = audit_inputs(config, None)
        for line in report.to_text().splitlines():
            if " 0 offsets" not in line:  # partitions that no stream fell on
                say(escape(line))
    sources = {one.stream_id: one.source for one in inputs}
    summary = summarize(stage.account, sources, report.totals())
    summary["seconds"] = round(time.monotonic() - started, 1)
    _draw(inputs, sequence, stage, out, config, console)
    write_summary(summary, out / "summary.json")
    say(f"{out}/: {', '.join(sorted(path.name for path in out.iterdir()))}")
    if as_json:
        print(json.dumps(summary))
    return report.complete and settled and all(one["results"] for one in summary["streams"].values())


@contextmanager
def _service(home: Path, keep: bool, say: Callable[[str], None]) -> Iterator[AppConfig]:
    """The whole application in a process of its own; its data is the demo's alone and starts empty."""
    take_down(home)
    shutil.rmtree(home, ignore_errors=True)
    state = bring_up(SETTINGS, home, say=say)
    try:
        info = state.info or {}
        yield with_addresses(load_config(SETTINGS, os.environ), info["bootstrap_servers"], info["redis_url"])
    except BaseException:
        take_down(home)
        raise
    if keep:
        say(f"left up: `FOVEAL_HOME={home} foveal status`, and `FOVEAL_HOME={home} foveal down` to stop it")
    else:
        say("stopping")
        take_down(home)


def _inputs(
    media: Path, seconds: float, say: Callable[[str], None], console: Console
) -> tuple[list[DemoInput], GBufferSequence]:
    inputs = []
    for stream_id, title, find, start_s in (
        ("carphone", "a talking face", talking_face, FACE_START_S),
        ("street", "a street with walkers", lambda: walkers(media), 0.0),
    ):
        try:
            path = find()
        except InputMissingError as error:
            say(f"[yellow]{escape(str(error))}[/yellow]")
            continue
        fps = open_source(str(path)).fps
        frames = _player(path, int(seconds * fps))
        inputs.append(DemoInput(stream_id, title, path.name, "frames", fps, frames, start_s=start_s))
        say(f"stream {stream_id!r}: {title}, {path.name} at {fps:.4g} fps")
    sequence = _sequence(media, say, console)
    count = int(seconds * sequence.fps)
    inputs.append(
        DemoInput(
            "renderer",
            sequence.title,
            sequence.source,
            "gbuffers",
            sequence.fps,
            lambda: islice(sequence.planes(), count),
            exposure=EXPOSURE,
            start_s=RENDERER_START_S,
        )
    )
    say(f"stream 'renderer': {sequence.title}, {sequence.source}, at {sequence.fps:.4g} fps")
    return inputs, sequence


def _sequence(media: Path, say: Callable[[str], None], console: Console) -> GBufferSequence:
    """Rendered here where Mitsuba is installed, which the first demo waits for; else the committed one."""
    if not mitsuba_installed():
        return GBufferSequence.room()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("rendering the room", total=None)
        try:
            folder = render_room(media, lambda done, total: progress.update(task, completed=done, total=total))
        except InputMissingError as error:
            say(f"[yellow]{escape(str(error))}[/yellow]")
            return GBufferSequence.room()
    return GBufferSequence.room(folder)


def _player(path: Path, count: int) -> Callable[[], Iterator[Image]]:
    return lambda: (frame.image_bgr for frame in islice(iter(open_source(str(path))), count))


def _draw(
    inputs: list[DemoInput], sequence: GBufferSequence, stage: Stage, out: Path, config: AppConfig, console: Console
) -> None:
    accounts: Mapping[str, Any] = stage.account.streams
    pictures: list[Image] = []
    with Progress(console=console, transient=True) as progress:
        for one in inputs:
            account = accounts[one.stream_id]
            task = progress.add_task(f"drawing {one.stream_id}", total=account.frames_in)

            def advance(task: Any = task) -> None:
                progress.advance(task)

            if one.kind == "frames":
                rule = config.perception.rule(one.stream_id)
                frames = hidden_frames(one.frames(), one.fps, rule.privacy if rule is not None else "none")
                pictures += write_annotated(account, frames, one.fps, out / f"{one.stream_id}.mp4", advance)
            else:
                inputs_shown = islice(sequence.pictures(), account.frames_in)
                pictures += write_renders(account, inputs_shown, one.fps, out, advance)
    write_sheet(pictures, out / "contact_sheet.jpg")
