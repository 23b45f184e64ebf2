"""Who is due is removed at intervals, for as long as a gateway runs; several doing it at once do no harm."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gallery.errors import GalleryError
from gallery.provisional import expire_provisional
from gallery.store import GalleryStore

__all__ = ["expiring"]

log = logging.getLogger(__name__)


@contextmanager
def expiring(store: GalleryStore, every_s: float) -> Iterator[None]:
    """Look through all galleries now and every so often, on a thread of its own."""
    ended = threading.Event()

    def run() -> None:
        while True:
            _expire_all(store)
            if ended.wait(every_s):
                return

    thread = threading.Thread(target=run, name="gallery-expiry", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(2 * store.config.timeout_s)


def _expire_all(store: GalleryStore) -> None:
    try:
        for info in store.list_galleries():
            if info.expire_after_s is not None and (gone := store.expire(info.name)):
                log.info("%d identities of %s expired", len(gone), info.name)
            if info.provisional is not None and (gone := expire_provisional(store, info.name)):
                log.info("%d provisional identities of %s expired", len(gone), info.name)
    except GalleryError as error:
        log.warning("nobody expires now: %s", error)  # the next time, all that is due goes
