"""`foveal models`: list, verify, build and fetch networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from foveal.exits import Exit
from foveal.settings import home_folder

__all__ = ["app"]

app = typer.Typer(
    help="The networks: what there is, whether it is whole, engines built ahead, public weights fetched.",
    epilog="Exit codes: 0 done, 1 a network is not whole or an engine was not built, 2 bad usage, 3 no answer.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
Names = Annotated[list[str] | None, typer.Argument(help="Names as in `foveal models list`; all if none is given.")]
Mirror = Annotated[
    Path | None,
    typer.Option(envvar="FOVEAL_MODEL_MIRROR", help="A folder with the files, looked into before the network."),
]


@app.command("list")
def list_models(mirror: Mirror = None, as_json: AsJson = False) -> None:
    """Show this project's networks and the public ones that can be fetched.

    Examples:

        foveal models list

        foveal models list --json | jq -r '.networks[] | select(.state != "whole") | .name'
    """
    from models.catalogue import CATALOGUE, PUBLIC
    from models.reports import describe

    folder = home_folder() / "models"
    networks = [describe(spec) for spec in CATALOGUE.values()]
    public = [
        {
            "name": weights.name,
            "licence": weights.licence,
            "page": weights.page,
            "meaning": weights.meaning,
            "path": next((str(p) for f in (folder, mirror) if f and (p := weights.find(f))), None),
        }
        for weights in PUBLIC.values()
    ]
    if as_json:
        typer.echo(json.dumps({"networks": networks, "public": public}, indent=2))
        return
    console = Console()
    console.print(
        _table("networks of this project", networks, ("name", "version", "state", "parameters", "bytes", "licence"))
    )
    for row in public:
        row["state"] = "here" if row["path"] else "foveal models pull"
    console.print(_table("public networks, for comparison", public, ("name", "state", "licence", "meaning")))


@app.command()
def verify(names: Names = None, as_json: AsJson = False) -> None:
    """Check digests, join topology and weights, and run each network once on the CPU. Exit code 1 if one fails.

    Examples:

        foveal models verify

        foveal models verify reid-nano --json
    """
    from models.catalogue import CATALOGUE, find_spec
    from models.reports import verify as verify_one

    reports = [verify_one(find_spec(name)) for name in names or sorted(CATALOGUE)]
    _print(reports, as_json, ("name", "ok", "run_ms"))
    if not all(report["ok"] for report in reports):
        raise typer.Exit(Exit.CHECK_FAILED)


@app.command()
def build(
    names: Names = None,
    compiler: Annotated[Literal["auto", "openvino", "tensorrt"], typer.Option(help="Which compiler.")] = "auto",
    compute_capability: Annotated[
        list[str] | None, typer.Option(help="Build TensorRT engines for such a GPU, none needed here (e.g. 8.9).")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="The largest batch (TensorRT: 32 if not given).")] = None,
    height: Annotated[int | None, typer.Option(help="For networks that take any height: build for this one.")] = None,
    width: Annotated[int | None, typer.Option(help="For networks that take any width: build for this one.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of engines (default: engines in FOVEAL_HOME).")] = None,
    as_json: AsJson = False,
) -> None:
    """Build engines ahead of time, and say which layers a compiler could not take. Exit code 1 if one was not built.

    Examples:

        foveal models build

        foveal models build reid-nano --compiler openvino

        foveal models build --compiler tensorrt --compute-capability 8.6 --compute-capability 8.9 --json
    """
    from models.catalogue import CATALOGUE, find_spec
    from models.engine import EngineConfig, ShapeProfile
    from models.reports import build_for, build_here

    if compute_capability and compiler == "openvino":
        raise typer.BadParameter("only TensorRT builds for a compute capability", param_hint="--compute-capability")
    config = EngineConfig(compiler=compiler, cache_dir=cache or home_folder() / "engines")
    reports: list[dict[str, Any]] = []
    for name in names or sorted(CATALOGUE):
        spec = find_spec(name)
        profile = ShapeProfile.usual_of(spec, batch=batch or 32, height=height, width=width)
        if compute_capability:
            reports.append(build_for(spec, tuple(compute_capability), profile, config))
        else:  # without sizes the engines that the actors load
            reports.append(build_here(spec, profile if batch or height or width else None, config))
    _print(reports, as_json, ("name", "ok", "compiler", "device", "bytes", "seconds"))
    if not all(report["ok"] for report in reports):
        raise typer.Exit(Exit.CHECK_FAILED)


@app.command()
def pull(
    names: Annotated[list[str], typer.Argument(help="Names of public networks, as in `foveal models list`.")],
    mirror: Mirror = None,
    folder: Annotated[Path | None, typer.Option(help="Where to (default: models in FOVEAL_HOME).")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch public weights: from the mirror if it has them, else from their official address; digests are checked.

    Examples:

        foveal models pull yunet_n_dynamic

        FOVEAL_MODEL_MIRROR=/srv/weights foveal models pull yolox_nano osnet_x0_25_msmt17
    """
    from models.catalogue import find_public
    from models.mirror import pull as pull_one

    target = folder or home_folder() / "models"
    wanted = [find_public(name) for name in names]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    done = []
    with Progress(*columns, console=Console(stderr=True), disable=as_json) as progress:
        for weights in wanted:
            task = progress.add_task(weights.name, total=None)

            def show(so_far: int, size: int | None, task: Any = task) -> None:
                progress.update(task, completed=so_far, total=size)

            path = pull_one(weights, target, mirror, show)
            size = path.stat().st_size
            progress.update(task, completed=size, total=size)
            done.append({"name": weights.name, "path": str(path), "bytes": size, "licence": weights.licence})
    if as_json:
        typer.echo(json.dumps(done, indent=2))
    else:
        for row in done:
            typer.echo(f"{row['path']}  ({row['licence']})")


def _print(reports: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    if as_json:
        typer.echo(json.dumps(reports, indent=2))
        return
    Console().print(_table(None, reports, columns))
    for report in reports:
        for layer in report.get("layers", ()):
            typer.echo(f"{report['name']}: layer not taken: {layer}", err=True)
        if report["error"] and not report.get("layers"):
            typer.echo(f"{report['name']}: {report['error']}", err=True)


def _table(title: str | None, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Table:
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(_cell(row.get(column))) for column in columns))
    return table


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "NO"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.1f}"
        case _:
            return str(value)
