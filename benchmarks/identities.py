"""Do people keep their identity? Real clips through the service's own parts, with unknown people remembered.

    python -m benchmarks.identities [--scene room]... [--speed 2] [--out out/identities] [--json FILE]

Each scene (see `benchmarks/identity_scenes.py`) has a gallery of its own that begins empty and remembers unknown people
by the default policy. Its frames go through perception as a replica has it - decoding, detector, embedder, tracker,
index, the writers of sightings and of unknown people on a real Valkey - without Kafka, no faster than they were taken
(`--speed` times as fast: the writers, which work beside the frames, have less time then).
An annotated clip of each stream is left in `--out`, and the figures are JSON on the last line.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from actors.config import AppConfig, StreamRule, load_config
from actors.endings import Endings
from actors.metrics import LoopStats
from actors.networks import load_perception
from actors.perception import PerceptionStep
from actors.sightings import SightingsWriter
from actors.unknown import UnknownPeople
from benchmarks.identity_figures import Pairing, Seen, figures
from benchmarks.identity_scenes import SCENES, Moment, Passage, passages
from benchmarks.machine import describe_machine
from deploy.local import LocalValkey
from foveal.annotate import annotate
from foveal.videofile import VideoFile
from gallery.index import GalleryIndex
from gallery.provisional import provisional_ids, set_policy
from gallery.schema import ProvisionalPolicy
from gallery.store import GalleryStore
from models.reid import REID_NANO
from streams.cloudevents import parse_result
from streams.codec import encode_image
from streams.headers import FrameCodec, SentFrameHeaders, encode, parse_frame_headers
from streams.messages import PeopleResult
from streams.records import FrameRecord, Origin

__all__ = ["Replica", "main"]

DIMENSION = 512
SETTLE_S = 3.0


class Replica:
    """The parts of a perception replica, without its loop."""

    def __init__(
        self, config: AppConfig, rules: Sequence[StreamRule], stack: ExitStack, policy: ProvisionalPolicy
    ) -> None:
        networks = load_perception(config)
        self.store = stack.enter_context(GalleryStore(config.gallery, who="perception"))
        for gallery in {rule.gallery for rule in rules}:
            self.store.create(gallery, dimension=DIMENSION, epoch=networks.epoch)
            set_policy(self.store, gallery, policy)
        index = stack.enter_context(GalleryIndex(config.gallery))
        index.wait_until_synced(10)
        sightings = SightingsWriter(self.store, config.perception.sighting_interval_s)
        self.unknown = UnknownPeople(self.store, index, epoch=networks.epoch)
        for writer in (sightings, self.unknown):
            writer.start()
            stack.callback(writer.close)
        perception = config.perception.model_copy(update={"streams": tuple(rules)})
        self._step = PerceptionStep(perception, networks, index, LoopStats(), sightings, None, self.unknown)
        self._epoch_ns = time.time_ns()
        self._seq = 0

    def see(self, stream_id: str, moment: Moment) -> PeopleResult:
        """What is published of one frame."""
        self._seq += 1
        at_ns = self._epoch_ns + round(moment.at_s * 1e9)
        height, width = moment.image_bgr.shape[:2]
        sent = SentFrameHeaders(
            codec=FrameCodec.JPEG, seq=self._seq, captured_at_ns=at_ns, width=width, height=height, keyframe=True
        )
        record = FrameRecord(
            origin=Origin("foveal.frames", 0, self._seq),
            part_offsets=(self._seq,),
            stream_id=stream_id,
            payload=encode_image(moment.image_bgr, FrameCodec.JPEG, quality=90),
            appended_at_ms=at_ns // 1_000_000,
            headers=parse_frame_headers(list(encode(sent))),
            raws=(),
        )
        endings = Endings(lambda _: None)
        prepared = self._step.prepare([record], endings)
        if prepared is not None:
            self._step.infer(prepared, endings)
        batch = endings.build(LoopStats(), 0)
        if len(batch.results) != 1:
            raise RuntimeError(f"{stream_id}, {moment.at_s:.2f} s: expected one result, got {batch}")
        message = parse_result(batch.results[0].headers, batch.results[0].value).result
        if not isinstance(message, PeopleResult):
            raise TypeError(f"expected people, got {type(message).__name__}")
        return message


def main(arguments: Sequence[str] | None = None) -> None:
    """Play the scenes side by side, print a line each, and all figures as JSON."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    scenes: dict[str, list[Passage]] = {}
    for name in options.scene or list(SCENES):
        try:
            scenes[name] = passages(name, options.data)
        except FileNotFoundError as error:
            print(f"{name} is left out: {error}")
    machine = describe_machine()
    policy = ProvisionalPolicy(surer_by=options.surer_by)
    rows = _play(scenes, load_config(options.config, os.environ), options.out, options.speed, policy)
    for name, row in rows.items():
        told = {key: value for key, value in row.items() if key != "by_person"}
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in told.items()))
    report = {
        "network": REID_NANO.stem,
        "speed": options.speed,
        "surer_by": policy.surer_by,
        "scenes": rows,
        "machine": machine,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report))


def _play(
    scenes: dict[str, list[Passage]], config: AppConfig, out: Path, speed: float, policy: ProvisionalPolicy
) -> dict[str, dict[str, Any]]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(LocalValkey(Path(folder) / "valkey"))
        config = config.model_copy(update={"gallery": config.gallery.model_copy(update={"url": server.url})})
        rules = [
            StreamRule(match=f"{name}/*", compute=("people", "identities"), gallery=name, freshness="all")
            for name in scenes
        ]
        replica = Replica(config, rules, stack, policy)
        clips = {
            (name, one.stream): stack.enter_context(VideoFile(out / f"{name}-{one.stream}.mp4", one.fps))
            for name, streams in scenes.items()
            for one in streams
        }
        seen: dict[str, list[Seen]] = defaultdict(list)
        pairings: dict[str, Pairing] = defaultdict(Pairing)
        began_s = time.monotonic()
        for name, moment in _merged(scenes):
            time.sleep(max(0.0, began_s + moment.at_s / speed - time.monotonic()))
            stream_id = f"{name}/{moment.stream}"
            result = replica.see(stream_id, moment)
            seen[name] += pairings[stream_id].pair(moment.stream, moment.at_s, moment.there, result)
            drawn = annotate(moment.image_bgr, result, None, title=f"{stream_id}  {moment.at_s:.2f} s")
            clips[name, moment.stream].write(drawn)
        time.sleep(SETTLE_S)
        return {
            name: figures(seen[name], 1 / streams[0].fps)
            | {"identities_in_gallery": len(provisional_ids(replica.store, name))}
            for name, streams in scenes.items()
        }


def _merged(scenes: dict[str, list[Passage]]) -> Iterator[tuple[str, Moment]]:
    """The frames of all streams in the order of their times."""

    def named(scene: str, passage: Passage) -> Iterator[tuple[str, Moment]]:
        return ((scene, moment) for moment in passage.moments)

    streams = [named(scene, passage) for scene, some in scenes.items() for passage in some]
    return heapq.merge(*streams, key=lambda pair: pair[1].at_s)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.identities",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = Path(os.environ.get("FOVEAL_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=shared, help="folder with video/ and reid/")
    parser.add_argument("--scene", choices=list(SCENES), action="append", help="may be given repeatedly; default: all")
    parser.add_argument("--speed", type=float, default=1.0, help="times as fast as the clips were taken")
    default = ProvisionalPolicy().surer_by
    parser.add_argument("--surer-by", type=float, default=default, help="of the policy: less joins more")
    parser.add_argument("--config", type=Path, help="settings of the service in YAML")
    parser.add_argument("--out", type=Path, default=Path("out/identities"), help="folder for the annotated clips")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
