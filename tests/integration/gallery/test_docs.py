"""The blocks for Redis clients in docs/gallery.md run as they stand, one after another, on a real gallery."""

import re
from pathlib import Path

import numpy as np
import pytest

from gallery.changes import merge
from gallery.config import GalleryConfig
from gallery.keys import GalleryKeys
from gallery.schema import Sighting
from gallery.store import GalleryStore

pytestmark = pytest.mark.services
PAGE = Path(__file__).parents[3] / "docs/gallery.md"
E = np.eye(8, dtype=np.float32)


def test_any_redis_client_reads_a_gallery_as_documented(valkey: str, capsys: pytest.CaptureFixture[str]) -> None:
    section = PAGE.read_text(encoding="utf-8").split("### From any Redis client")[1].split("\n##")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 5
    with GalleryStore(GalleryConfig(url=valkey), who="docs") as store:
        if "lobby" in [info.name for info in store.list_galleries()]:
            store.remove_gallery("lobby")
        store.create("lobby", dimension=8, epoch="net-1", threshold=0.5)
        store.enrol("lobby", E[:2], identity_id="ada", name="Ada")
        store.enrol("lobby", E[2], identity_id="bea", reason="a guest")
        merge(store, "lobby", "bea", into="ada")
        store.record_sightings("lobby", [Sighting(event_id="e", identity_id="ada", stream_id="door", seen_at_ms=7_000)])
        names: dict[str, object] = {}
        for block in blocks:
            exec(block.replace("redis://127.0.0.1:6379/0", valkey), names)
        np.testing.assert_array_equal(names["embeddings"], E[:3])
        said = capsys.readouterr().out
        assert "b'net-1' 0.5" in said
        assert "ada b'Ada' 7000.0" in said
        assert "4 merge ['bea', 'ada']" in said
        assert "b'a guest'" in said
        names["client"].close()  # type: ignore[attr-defined]
        store.remove_gallery("lobby")


def test_every_key_of_a_gallery_is_documented(valkey: str) -> None:
    documented = set(re.findall(r"`([a-z-]+)(?::<[a-z]+>)*`", PAGE.read_text(encoding="utf-8").split("## Keys")[1]))
    keys = GalleryKeys("lobby")
    names = [getattr(keys, name) for name in dir(keys) if isinstance(getattr(GalleryKeys, name, None), property)]
    names += [keys.identity("a"), keys.vector("a", 0), keys.sightings("a"), keys.change(1)]
    used = {name[len(keys.prefix) :].split(":")[0] for name in names} - {""}
    assert used <= documented
