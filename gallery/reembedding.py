"""A gallery goes over to another network: embedded anew from its kept crops, beside its use, then switched at once.

Each vector's hash keeps an embedding for each network that has made one: `embedding` is that of `epoch`, others are
fields `embedding:<epoch>`. New ones are put there while all readers go on with the old. `lua/switch.lua` then changes
`meta.epoch`, if nothing was changed since it was seen that none lacks: a copy in memory is of one network or the other,
never of both. What the old network made stays until `forget_others`, so that going back is the same with its name.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from gallery import scripts
from gallery.calibration import calibrate
from gallery.connection import named_errors
from gallery.crops import open_crops
from gallery.errors import CalibrationError, GalleryBusyError, NotReembeddableError, UnknownIdentityError
from gallery.keys import GalleryKeys
from gallery.schema import GalleryInfo, check_embeddings, encode_vector, is_provisional
from gallery.snapshot import chunks, load_gallery
from gallery.store import GalleryStore

__all__ = ["EmbedCrops", "Reembedded", "forget_others", "look_over", "reembed", "refuse_early"]

EmbedCrops = Callable[[Sequence[bytes]], NDArray[np.float32]]
"""Encoded pictures to embeddings [N, D], unit norm."""
IDENTITIES_AT_A_TIME = 200
FRESH_MS = 5_000
"""A vector's crop is kept a moment after the vector."""
PASSES = 200
WAIT_S = 0.5
NAMED = 5


class Reembedded(BaseModel):
    """What became of a gallery. `left_out`: vectors without a crop, which are of the old network still, and unused.

    Where the gallery was of this network before the call, nothing is left out by it.
    """

    model_config = ConfigDict(frozen=True)

    gallery: str
    epoch_before: str
    epoch: str
    identities: int
    vectors: int
    embedded: int
    """Now; the others had an embedding by this network from before."""
    left_out: int
    identities_without_vectors: tuple[str, ...]
    threshold: float
    calibrated: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class _Lacking:
    """An identity and which of its vectors another network has not embedded yet."""

    identity_id: str
    revision: str
    created_at_ms: str
    ready: int
    with_crop: tuple[int, ...]
    without_crop: tuple[int, ...]
    fresh: bool
    """One without a crop was enrolled a moment ago: its crop may be on its way."""

    @property
    def lost(self) -> bool:
        """None of its vectors would be left."""
        return bool(self.without_crop) and not self.ready and not self.with_crop


def look_over(store: GalleryStore, gallery: str, epoch: str) -> tuple[int, int, tuple[str, ...]]:
    """What is to be embedded for a network: vectors with a crop, vectors in use without one, and who would be lost.

    Raises: UnknownGalleryError.
    """
    lacking = list(_lacking(store, gallery, epoch))
    with_crop = sum(len(one.with_crop) for one in lacking)
    without = sum(len(one.without_crop) for one in lacking)
    return with_crop, without, tuple(one.identity_id for one in lacking if one.lost)


def refuse_early(store: GalleryStore, gallery: str, epoch: str, *, remedy: str = "") -> None:
    """Say before minutes are spent that a gallery cannot be embedded anew. Raises: NotReembeddableError."""
    _refuse(store.info(gallery), epoch, list(_lacking(store, gallery, epoch)), remedy)


def reembed(
    store: GalleryStore,
    gallery: str,
    epoch: str,
    embed: EmbedCrops,
    *,
    leave_out: bool = False,
    reason: str = "",
    said: Callable[[int, int], None] = lambda done, count: None,
) -> Reembedded:
    """Make another network's embeddings the gallery's. Cut short, it changes nothing, and goes on at the next call.

    `leave_out` goes on without vectors that have no crop. Where the gallery is calibrated it is so anew, to the same
    share of strangers; one that was of this network before gets its threshold of then. `said` hears how many vectors
    are embedded, of how many.
    Raises: NotReembeddableError, CropKeyError, UnknownGalleryError, GalleryBusyError, what `embed` raises.
    """
    began_s, embedded, left = time.monotonic(), 0, list[_Lacking]()
    before = store.info(gallery)
    for _ in range(PASSES):
        info = store.info(gallery)
        if info.epoch == epoch:
            _settle(store, gallery, "keep")
            break
        lacking = list(_lacking(store, gallery, epoch))
        if any(one.fresh for one in lacking):
            time.sleep(WAIT_S)
            continue
        if not leave_out:
            _refuse(info, epoch, lacking)
        todo = [one for one in lacking if one.with_crop]
        count = embedded + sum(len(one.with_crop) for one in todo)
        for one in todo:
            embedded += _stage(store, info, epoch, one, embed, reason)
            said(embedded, count)
        if not todo and _switch(store, info, epoch, reason):
            left = [one for one in lacking if one.without_crop]
            _settle(store, gallery, "keep")
            break
    else:
        raise GalleryBusyError(f"gallery: {gallery!r} was changed by others {PASSES} times in between; try again")
    after = store.info(gallery)
    with named_errors(store.config):
        people = list(load_gallery(store.client, after, brief=True))
    return Reembedded(
        gallery=gallery,
        epoch_before=before.epoch,
        epoch=epoch,
        identities=len(people),
        vectors=sum(v.epoch == epoch for one in people for v in one.vectors),
        embedded=embedded,
        left_out=sum(len(one.without_crop) for one in left),
        identities_without_vectors=tuple(one.identity_id for one in left if one.lost),
        threshold=after.threshold,
        calibrated=after.calibration is not None,
        seconds=round(time.monotonic() - began_s, 3),
    )


def forget_others(store: GalleryStore, gallery: str) -> None:
    """Delete what other networks than the gallery's made of its vectors: there is no going back without crops then.

    Raises: UnknownGalleryError.
    """
    _settle(store, gallery, "forget")


def _lacking(store: GalleryStore, gallery: str, epoch: str) -> Iterator[_Lacking]:
    keys, now_ms = GalleryKeys(gallery), 1000 * store.server_time_s()
    store.info(gallery)
    with named_errors(store.config):
        ids = [i.decode() for i in store.client.zrange(keys.identities, 0, -1)]
        for some in chunks(ids, IDENTITIES_AT_A_TIME):
            said = store.client.eval(scripts.LACKING, 1, keys.meta, keys.prefix, epoch, *some)
            for identity_id, revision, created, ready, crops, without in json.loads(said):
                yield _Lacking(
                    identity_id=identity_id,
                    revision=revision,
                    created_at_ms=created,
                    ready=ready,
                    with_crop=tuple(int(n) for n in crops),
                    without_crop=tuple(int(n) for n, _ in without),
                    fresh=any(now_ms - float(at_ms) < FRESH_MS for _, at_ms in without),
                )


def _refuse(info: GalleryInfo, epoch: str, lacking: Sequence[_Lacking], remedy: str = "") -> None:
    bare = [one for one in lacking if one.without_crop]
    if not bare:
        return
    without = sum(len(one.without_crop) for one in bare)
    lost = tuple(one.identity_id for one in bare if one.lost)
    first = ", ".join(one.identity_id for one in bare[:NAMED])
    raise NotReembeddableError(
        f"gallery: {info.name!r} cannot be embedded anew by {epoch}: {without:,} of its vectors have no kept crop "
        f"(of {first}{', ...' if len(bare) > NAMED else ''}), {len(lost):,} identities would have none left; it "
        f"stays with {info.epoch}. Enrol these from pictures with `foveal gallery crops {info.name} --days N` on, or "
        f"go on without them by --leave-out{remedy}",
        without,
        lost,
    )


def _stage(store: GalleryStore, info: GalleryInfo, epoch: str, one: _Lacking, embed: EmbedCrops, reason: str) -> int:
    """Embed an identity's crops; 0 where it was changed meanwhile, and is looked at again in the next pass."""
    try:
        crops = open_crops(
            store, info.name, one.identity_id, one.with_crop, what_for=f"embed by {epoch}", reason=reason
        )
    except UnknownIdentityError:
        return 0
    if not crops:
        return 0
    rows = check_embeddings(embed(list(crops.values())), dimension=info.dimension)
    pairs = [part for n, row in zip(crops, rows, strict=True) for part in (n, encode_vector(row, info.storage))]
    looked_at = (epoch, one.revision, one.created_at_ms)
    reply = store.run(scripts.STAGE, GalleryKeys(info.name), one.identity_id, *looked_at, *pairs, reason=reason)
    return int(reply[2]) if reply[0] == b"ok" else 0


def _switch(store: GalleryStore, info: GalleryInfo, epoch: str, reason: str) -> bool:
    threshold, calibration = _threshold(store, info, epoch)
    reply = store.run(
        scripts.SWITCH, GalleryKeys(info.name), "", info.seq, epoch, repr(threshold), calibration, reason=reason
    )
    return bool(reply[0] == b"ok")


def _threshold(store: GalleryStore, info: GalleryInfo, epoch: str) -> tuple[float, str]:
    """Calibrated anew to the same share, where the gallery is; else as it is."""
    if info.calibration is None:
        return info.threshold, ""
    rows: list[NDArray[np.float32]] = []
    owners: list[int] = []
    with named_errors(store.config):
        for number, one in enumerate(load_gallery(store.client, info.model_copy(update={"epoch": epoch}))):
            if is_provisional(one.identity_id, one.name):
                continue
            usable = [v for v in one.vectors if v.polarity == "positive" and v.epoch == epoch]
            rows += [v.embedding for v in usable if v.embedding is not None]
            owners += [number for v in usable if v.embedding is not None]
    try:
        if not rows:
            raise CalibrationError("nobody to calibrate from")
        found = calibrate(np.stack(rows), np.array(owners), info.calibration.fpir)
    except CalibrationError:
        return info.threshold, ""
    dated = found.model_copy(update={"at_ms": round(store.server_time_s() * 1000)})
    return dated.threshold, dated.model_dump_json()


def _settle(store: GalleryStore, gallery: str, others: str) -> None:
    with named_errors(store.config):
        ids = [i.decode() for i in store.client.zrange(GalleryKeys(gallery).identities, 0, -1)]
    for some in chunks(ids, IDENTITIES_AT_A_TIME):
        store.run(scripts.SETTLE, GalleryKeys(gallery), "", others, *some)
