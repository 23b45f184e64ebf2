"""`foveal reconstruct`: rendered frames in a folder to whole pictures, off line, by the network that serves streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["reconstruct"]

EXAMPLES = """
`DIR` holds one OpenEXR file a frame, as `foveal render` writes them, or a committed sequence. Where a frame has a
layer `reference`, PSNR, SSIM, SMAPE and the warped temporal error go into `OUT/frames.csv`.

Examples:

    foveal reconstruct foveal/assets/gbuffers/room --out out/room

    foveal reconstruct out/kitchen --out out/kitchen-whole --engine openvino --precision f32

    foveal reconstruct out/kitchen --out out/kitchen-whole --json | jq .psnr
"""


def reconstruct(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Frames: *.exr, in the order of their names.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the pictures (EXR and PNG) and the table go.")],
    engine: Annotated[Literal["auto", "openvino", "tensorrt"], typer.Option(help="Which compiler.")] = "auto",
    precision: Annotated[
        Literal["auto", "f32", "bf16", "f16"], typer.Option(help="auto: what the device is fastest in.")
    ] = "auto",
    exposure: Annotated[
        float | None, typer.Option(min=0, help="Of the PNGs; left out: by the reference, or followed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Reconstruct a folder of frames at a quarter of a sample per pixel, with a progress bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from foveal.reconstruction import TABLE, reconstruct_folder
    from foveal.settings import home_folder
    from models.engine import EngineConfig, load_engine
    from models.ssr import SSR
    from training.ssr.frames import count_frames

    total = count_frames(folder)
    config = EngineConfig(compiler=engine, precision=precision, cache_dir=home_folder() / "engines")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        load_engine(SSR, config) as loaded,
        Progress(*columns, console=Console(stderr=True), disable=as_json) as progress,
    ):
        task = progress.add_task(str(folder), total=total)
        summary = reconstruct_folder(
            folder, out, loaded, exposure=exposure, done=lambda count: progress.update(task, completed=count)
        )
        summary |= {"engine": loaded.info.compiler, "device": loaded.device, "precision": str(loaded.precision)}
    if as_json:
        typer.echo(json.dumps(summary))
        return
    typer.echo(f"{summary['frames']:,} frames in {out}, {summary['ms']:.1f} ms each; the table is {out / TABLE}")
    if "psnr" in summary:
        typer.echo(f"PSNR {summary['psnr']:.2f} dB, SSIM {summary['ssim']:.3f}, SMAPE {summary['smape']:.3f}")


reconstruct.__doc__ = f"{reconstruct.__doc__}\n{EXAMPLES}"
