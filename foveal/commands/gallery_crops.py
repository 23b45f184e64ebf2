"""`foveal gallery crops|crop|crop-key`: the pictures of people that a gallery keeps, encrypted and for a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from foveal.commands.gallery import Config, Json, Name, Reason, app, open_store, when

__all__ = ["crop", "crop_key", "crops"]

DAY_S = 86_400


@app.command("crops")
def crops(
    gallery: Name,
    days: Annotated[float | None, typer.Option(min=0.0001, help="Keep each crop for so long.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Keep none, and delete those that are kept.")] = False,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Keep the crop that each vector was made of, or show whether a gallery does. Off until asked for.

    Crops are encrypted by the key in gallery.crop_key or gallery.crop_key_file, which never goes to Redis. A crop goes
    with its vector, with its identity, and when its time is over.

    Examples:

        foveal gallery crops lobby --days 30 --reason "until the next network is trained"

        foveal gallery crops lobby --off
    """
    from gallery.crops import set_crop_policy
    from gallery.schema import CropPolicy

    if off and days is not None:
        raise typer.BadParameter("give either --off or --days", param_hint="--off")
    deleted = 0
    with open_store(config) as store:
        if off:
            deleted = set_crop_policy(store, gallery, None, reason=reason)
        elif days is not None:
            set_crop_policy(store, gallery, CropPolicy(retention_s=max(1, round(days * DAY_S))), reason=reason)
        now = store.info(gallery).crops
    if as_json:
        typer.echo(json.dumps({"retention_s": None if now is None else now.retention_s, "deleted": deleted}))
        return
    typer.echo(
        f"{gallery}: crops are kept for {now.retention_s / DAY_S:g} days"
        if now is not None
        else f"{gallery}: no crops are kept" + (f"; {deleted:,} deleted" if off else "")
    )


@app.command("crop")
def crop(
    gallery: Name,
    identity: Annotated[str, typer.Argument(help="The identity's id.")],
    number: Annotated[int | None, typer.Argument(min=0, help="The vector's number; all of them when left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for the JPEG files; without it they are listed.")] = None,
    reason: Reason = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """List the crops that are kept of an identity, or write them, decrypted; each look is in the audit trail.

    Examples:

        foveal gallery crop lobby 3f2a9c

        foveal gallery crop lobby 3f2a9c 4 --out out --reason "is that Ada?"
    """
    from gallery.crops import list_crops, read_crop

    with open_store(config) as store:
        times = list_crops(store, gallery, identity)
        chosen = sorted(times) if number is None else [number]
        written: list[Path] = []
        if out is not None:
            found = {one: read_crop(store, gallery, identity, one, reason=reason) for one in chosen}
            out.mkdir(parents=True, exist_ok=True)
            for one, picture in found.items():
                path = out / f"{identity}-{one}.jpg"
                path.touch(mode=0o600)
                path.write_bytes(picture)
                written.append(path)
    if as_json:
        kept = [{"number": one, "expires_at_ms": at_ms} for one, at_ms in sorted(times.items())]
        typer.echo(json.dumps({"crops": kept, "written": [str(path) for path in written]}, indent=2))
    elif out is not None:
        for path in written:
            typer.echo(str(path))
    else:
        for one, at_ms in sorted(times.items()):
            typer.echo(f"crop {one}: kept until {when(at_ms)}")
        if not times:
            typer.echo(f"no crops are kept of {identity}")


@app.command("crop-key")
def crop_key() -> None:
    """Print a new key for crops. Keep it where Redis is not; without it crops cannot be opened.

    Example:

        umask 077; foveal gallery crop-key > crop.key; export FOVEAL_GALLERY__CROP_KEY_FILE=crop.key
    """
    from gallery.crops import new_key

    typer.echo(new_key())
