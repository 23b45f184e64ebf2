"""`foveal gallery reembed`: a gallery goes over to another network, and back."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from foveal.commands.gallery import Config, Json, Name, Reason, app, open_store

__all__ = ["reembed"]


@app.command("reembed")
def reembed(
    gallery: Name,
    network: Annotated[
        str | None, typer.Option(help="A model epoch, as reid-nano-3+lobby.1; left out: the one of the settings.")
    ] = None,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Go on without vectors that have no crop; they are unused then.")
    ] = False,
    forget_old: Annotated[
        bool, typer.Option("--forget-old", help="Then delete what other networks made: no way back without crops.")
    ] = False,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Embed a gallery anew from its kept crops, beside its use, and go over to that network at once.

    Replicas go on by the network that they run until they are started with the other. Cut short, nothing has changed,
    and the next call goes on. What the old network made is kept, so that going back is the same with its name. Exit
    code 2 where a vector has no crop: nothing changes.

    Examples:

        foveal gallery reembed lobby --network reid-nano-3+lobby.1

        foveal gallery reembed lobby --network reid-nano-3 --reason "the new one mixes up uniforms"

        foveal gallery reembed lobby --forget-old --json
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from actors.cropfiles import CropEmbedder
    from foveal.settings import engines_at_home, load_settings
    from gallery.reembedding import forget_others
    from gallery.reembedding import reembed as go_over
    from models.sites import embedder_spec, serving_spec

    settings = load_settings(config)
    spec = serving_spec(settings.reid) if network is None else embedder_spec(network, settings.reid.folder)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        open_store(config) as store,
        CropEmbedder(spec, engines_at_home(settings.engine)) as embedder,
        Progress(*columns, console=Console(stderr=True), disable=as_json) as progress,
    ):
        task = progress.add_task(f"embedding {gallery} by {spec.stem}", total=None)
        done = go_over(
            store,
            gallery,
            spec.stem,
            embedder.embed,
            leave_out=leave_out,
            reason=reason,
            said=lambda so_far, count: progress.update(task, completed=so_far, total=count),
        )
        if forget_old:
            forget_others(store, gallery)
    if as_json:
        typer.echo(json.dumps(done.model_dump() | {"forgot_old": forget_old}, indent=2))
        return
    typer.echo(
        f"{gallery}: {done.vectors:,} vectors of {done.identities:,} identities are of {done.epoch} now "
        f"({done.embedded:,} embedded, {done.left_out:,} left out); threshold {done.threshold:.4f}"
        + ("" if done.calibrated else f", not calibrated: `foveal gallery calibrate {gallery}`")
    )
    for identity in done.identities_without_vectors:
        typer.echo(f"no usable vector: {identity}")
    if forget_old:
        typer.echo("what other networks made is deleted")
    elif done.epoch_before != done.epoch:
        typer.echo(f"back: `foveal gallery reembed {gallery} --network {done.epoch_before}`")
