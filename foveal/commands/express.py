"""`foveal express`: expressions of the faces in a picture or a clip, off line, by the networks that serve streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from actors.config import Privacy

__all__ = ["express"]

EXAMPLES = """
`OUT` gets the annotated picture or clip, `faces.jsonl` (a line a frame: of each face the raw and the smoothed
probabilities, valence, arousal, uncertainty, or why it is unreadable), and of a clip `events.jsonl` (changes with
their times) and `timeline.png`. What expression reading cannot tell, and where it is prohibited: docs/expressions.md.

Examples:

    foveal express portrait.jpg --out out/portrait

    foveal express clip.mp4 --out out/clip --privacy blur

    foveal express door.mp4 --out out/door --stream door-1 --config configs/local.yaml

    foveal express clip.mp4 --out out/clip --json | jq '.events[]'
"""


def express(
    source: Annotated[Path, typer.Argument(metavar="IMAGE|VIDEO", help="A picture or a video file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything that is written.")],
    privacy: Annotated[
        Literal["none", "blur", "pixelate"] | None,
        typer.Option(help="Hide faces in what is written; left out: as the stream's settings say, else none."),
    ] = None,
    stream: Annotated[
        str | None, typer.Option(help="Treat the file as this stream: its rule says what is computed and hidden.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings in YAML, for --stream.")] = None,
    engine: Annotated[Literal["auto", "openvino", "tensorrt"], typer.Option(help="Which compiler.")] = "auto",
    precision: Annotated[
        Literal["auto", "f32", "bf16", "f16", "int8"], typer.Option(help="auto: what the device is fastest in.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Read expressions as distributions with their uncertainty, with a progress bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from foveal.exits import Exit
    from foveal.expressing import express_file
    from foveal.media import SourceError
    from foveal.privacy import FAINT_SCORE
    from foveal.settings import home_folder
    from models.detection import Detector
    from models.detection.spec import DETECTION_SMALL
    from models.engine import EngineConfig, load_engine
    from models.expression import EXPRESSION_NANO, ExpressionReader

    ruled = "none" if stream is None else _privacy_of(stream, config)
    hidden = ruled if privacy is None else privacy
    if not source.is_file():
        raise SourceError(f"source: expected a picture or a video file, {str(source)!r} is not one")
    engines = EngineConfig(compiler=engine, precision=precision, cache_dir=home_folder() / "engines")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with (
        load_engine(DETECTION_SMALL, engines, from_uint8=True) as faces,
        load_engine(EXPRESSION_NANO, engines, from_uint8=True) as expressions,
        Progress(*columns, console=console, disable=as_json) as progress,
    ):
        task = progress.add_task(source.name, total=None)
        summary = express_file(
            source,
            out,
            Detector(faces, threshold=FAINT_SCORE, spec=DETECTION_SMALL),
            ExpressionReader(expressions),
            hidden,
            lambda count, total: progress.update(task, completed=count, total=total),
        )
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        typer.echo(_said(summary, out))
    if summary["ended_early"]:
        console.print(f"[yellow]warning:[/yellow] {summary['ended_early']}", highlight=False, soft_wrap=True)
        raise typer.Exit(Exit.CHECK_FAILED)


def _privacy_of(stream: str, config: Path | None) -> Privacy:
    """What the stream's rule hides. Raises: BadParameter where the rule does not name expressions."""
    from foveal.settings import load_settings

    rule = load_settings(config).perception.rule(stream)
    if rule is None or "expressions" not in rule.compute:
        named = "no rule matches it" if rule is None else f"its rule names {', '.join(rule.compute)}"
        raise typer.BadParameter(
            f"perception.streams: expected a rule for {stream!r} that names expressions, {named}; nothing is computed",
            param_hint="--stream",
        )
    return rule.privacy


def _said(summary: dict[str, Any], out: Path) -> str:
    if not summary["tracks"] and not summary["frames_with_a_face"]:
        return f"{summary['frames']:,} frames, no face found; written to {out}"
    lines = [
        f"{summary['frames']:,} frames, {summary['frames_with_a_face']:,} with a face, "
        f"{summary['readings']:,} readings; written to {out}"
    ]
    lines += [f"unreadable, {why}: {count:,}" for why, count in summary["unreadable"].items()]
    for event in summary.get("events", ()):
        before = f"{event['from']} -> " if event["from"] else ""
        lines.append(f"{event['at_s']:8.2f} s  face {event['track_id']}: {before}{event['to']}")
    return "\n".join(lines)


express.__doc__ = f"{express.__doc__}\n{EXAMPLES}"
