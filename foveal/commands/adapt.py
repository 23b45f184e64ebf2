"""`foveal adapt`: the embedder learns from a site's own pictures, without labels, and serves only if it is better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from gallery.reembedding import Reembedded
    from training.reid.site import SiteCrops

__all__ = ["adapt"]

EXAMPLES = """
Nobody names anybody for it: pictures that are alike are found by clustering. A third of the people are held back; the
new network is kept only if it finds them better than the one that serves, not by chance, and has unlearned nothing of
drawn figures that are of no site. Otherwise nothing changes. Then the gallery is embedded anew from its kept crops,
while it is in use, and goes over at once; a gallery with vectors that have no crop is told so before anything is done.

Pictures come from the kept crops of the gallery (`foveal gallery crops`), which are opened in memory, with a line in
the audit trail for each identity; or from a folder, as FOLDER/person/camera/1.jpg, where "person" is a track or whoever
is surely one person. Needs torch: `make setup-train`, then .venv-train/bin/foveal.

Exit codes: 0 the new network may serve, 1 it was refused and nothing changed, 2 torch is missing, the pictures are too
few, a vector has no crop, or a setting is wrong, 3 Redis does not answer. Ctrl-C changes nothing.

Examples:

    foveal adapt --gallery lobby --minutes 10

    foveal adapt --gallery lobby --leave-out --reason "new cameras"

    foveal adapt --crops tracks/ --site lobby --json | jq .verdict

    FOVEAL_REID__NETWORK=reid-nano-3+lobby.1 foveal up
"""


def adapt(
    gallery: Annotated[str | None, typer.Option("--gallery", "-g", help="Whose crops, and what goes over.")] = None,
    crops: Annotated[
        Path | None, typer.Option(help="A folder of pictures instead.", exists=True, file_okay=False)
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="What the network is named after; left out: the gallery, else the folder.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="Processor time of the training.")] = 10.0,
    threads: Annotated[int, typer.Option(min=1, help="Of the training.")] = 1,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 3,
    leave_out: Annotated[
        bool, typer.Option("--leave-out", help="Go on without vectors that have no crop; they are unused then.")
    ] = False,
    keep_gallery: Annotated[
        bool, typer.Option("--keep-gallery", help="Only make the network; `foveal gallery reembed` does the rest.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; goes into the audit trail.")] = "",
    config: Annotated[Path | None, typer.Option(help="Settings in YAML.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Adapt the embedder to a site by its own pictures, without labels, with a progress bar."""
    from actors.cropfiles import CropEmbedder
    from foveal.adapting import folder_crops, gallery_crops, need_training, train_for_site
    from foveal.commands.gallery import open_store
    from foveal.settings import engines_at_home, load_settings
    from gallery.reembedding import reembed, refuse_early
    from models.sites import embedder_spec, next_network, serving_spec

    if (gallery is None) == (crops is None):
        raise typer.BadParameter("give either --gallery or --crops", param_hint="--gallery / --crops")
    need_training()
    settings = load_settings(config)
    engine = engines_at_home(settings.engine)
    now = serving_spec(settings.reid)
    new = next_network(site or gallery or (crops or Path()).absolute().name, settings.reid.folder)
    goes_over = gallery is not None and not keep_gallery
    with open_store(config) as store, _Bars(quiet=as_json) as show:
        if gallery is not None:
            if goes_over and not leave_out:
                refuse_early(store, gallery, new.stem, remedy=", or only make the network by --keep-gallery")
            pictures: SiteCrops = gallery_crops(store, gallery, now, reason=reason)
        else:
            pictures = folder_crops(crops or Path(), now)
        learning = show(f"learning from {len(pictures):,} pictures")
        done = train_for_site(
            pictures,
            now,
            new,
            engine,
            lambda progress, row: learning(progress),
            minutes=minutes,
            threads=threads,
            seed=seed,
        )
        moved: Reembedded | None = None
        if done.network is not None and goes_over and gallery is not None:
            embedding = show(f"embedding {gallery} anew")
            with CropEmbedder(embedder_spec(done.network, settings.reid.folder), engine) as embedder:
                moved = reembed(
                    store,
                    gallery,
                    done.network,
                    embedder.embed,
                    leave_out=leave_out,
                    reason=reason or f"adapted: {done.verdict.why}",
                    said=lambda so_far, count: embedding(so_far / max(1, count)),
                )
    told = _told(done, now.stem, moved)
    typer.echo(json.dumps(told, indent=2) if as_json else _said(told, gallery))
    if done.network is None:
        raise typer.Exit(Exit.CHECK_FAILED)


def _told(done: Any, before: str, moved: Reembedded | None) -> dict[str, Any]:
    return {
        "network": done.network,
        "before": before,
        "verdict": done.verdict.described(),
        "learned_from": done.learned_from,
        "steps": done.steps,
        "share": done.share,
        "rounds": list(done.rounds),
        "gallery": None if moved is None else moved.model_dump(),
    }


def _said(told: dict[str, Any], gallery: str | None) -> str:
    verdict, before = told["verdict"], told["before"]
    kind = "across cameras" if verdict["across_cameras"] else "within cameras: too few people were seen by two"
    lines = [
        f"learned from {told['learned_from']:,} pictures in {told['steps']:,} steps, "
        f"{told['rounds'][-1]['clusters']} groups at the end",
        f"{verdict['people']} people held back, {verdict['pictures']:,} pictures, {kind}:",
        f"  mAP {verdict['site_before']:.1f} % by {before}, {verdict['site_after']:.1f} % by the new network, which is "
        f"ahead in {verdict['chance']:.0%} of draws",
        f"drawn figures, of no site: {verdict['figures_shipped']:.1f} % by the shipped network, "
        f"{verdict['figures_after']:.1f} % by the new one",
    ]
    if told["network"] is None:
        return "\n".join([*lines, f"REFUSED, nothing changed: {verdict['why']}"])
    lines.append(f"made {told['network']}")
    if (moved := told["gallery"]) is not None:
        left = f", {moved['left_out']:,} without a crop left out" if moved["left_out"] else ""
        lines.append(f"{gallery}: {moved['vectors']:,} vectors of {moved['identities']:,} identities are its now{left}")
        lines.append(f"back: `foveal gallery reembed {gallery} --network {before}`")
    lines.append(f"it serves from the next start with reid.network: {told['network']}")
    return "\n".join(lines)


class _Bars:
    """`with _Bars(quiet=False) as show: step = show("what"); step(0.5)`."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=Console(stderr=True), disable=quiet)

    def __enter__(self) -> Callable[[str], Callable[[float], None]]:
        self._bar.start()
        return self._show

    def __exit__(self, *ended: object) -> None:
        self._bar.stop()

    def _show(self, what: str) -> Callable[[float], None]:
        task = self._bar.add_task(what, total=1.0)
        return lambda progress: self._bar.update(task, completed=progress)


adapt.__doc__ = f"{adapt.__doc__}\n{EXAMPLES}"
