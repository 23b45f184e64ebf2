"""The two stream deployments: what each loads, and the loop that it runs."""

from __future__ import annotations

from typing import Any

from actors.loop import StreamLoop
from actors.makeup import MissedMatches
from actors.metrics import LoopStats, MetricsExport
from actors.perception import PerceptionStep
from actors.reconstruction import ReconstructionStep
from actors.replica import StreamReplica
from actors.sightings import SightingsWriter
from actors.unknown import UnknownPeople
from gallery.index import GalleryIndex
from gallery.store import GalleryStore
from streams.intake import Intake

__all__ = ["PerceptionActor", "ReconstructionActor"]

GALLERY_WAIT_S = 2.0


class PerceptionActor(StreamReplica):
    """`foveal.frames` -> people, identities, expressions."""

    def _open(self) -> None:
        from actors.networks import load_perception  # seconds of imports, only where it runs

        self._networks = load_perception(self._config)
        self._index = GalleryIndex(self._config.gallery, epoch=self._networks.epoch)
        self._index.start()
        self._store = GalleryStore(self._config.gallery, who="perception")
        self._unknown = UnknownPeople(self._store, self._index, epoch=self._networks.epoch)
        self._unknown.start()

    def _new_loop(self, rank: int) -> StreamLoop[Any, Any]:
        config, streams = self._config.perception, self._config.streams
        stats = LoopStats()
        topic = streams.topics.frames.name
        self._sightings = SightingsWriter(self._store, config.sighting_interval_s)
        self._sightings.start()
        self._missed = MissedMatches(
            self._store,
            self._index,
            epoch=self._networks.epoch,
            interval_s=config.sighting_interval_s,
            keep_s=config.make_up_s,
        )
        if config.make_up_s > 0:
            self._missed.start()
        return StreamLoop(
            streams,
            topic=topic,
            group=config.group,
            member_id=f"perception-{rank}",
            intake=Intake.for_frames(),
            step=PerceptionStep(
                config,
                self._networks,
                self._index,
                stats,
                self._sightings,
                self._missed if config.make_up_s > 0 else None,
                self._unknown,
            ),
            stats=stats,
            config=config.loop,
            health=config.health,
            export=MetricsExport(topic, "PerceptionActor"),
        )

    def _end_loop(self) -> None:
        super()._end_loop()
        self._sightings.close()
        self._missed.close()

    def _close(self) -> None:
        self._unknown.close()
        self._index.stop()
        self._store.close()

    @property
    def _partitions(self) -> int:
        return self._config.streams.topics.frames.partitions


class ReconstructionActor(StreamReplica):
    """`foveal.gbuffers` -> renders."""

    def _open(self) -> None:
        from actors.networks import load_reconstruction

        self._reconstructor = load_reconstruction(self._config)

    def _new_loop(self, rank: int) -> StreamLoop[Any, Any]:
        config, streams = self._config.reconstruction, self._config.streams
        stats = LoopStats()
        topic = streams.topics.gbuffers.name
        return StreamLoop(
            streams,
            topic=topic,
            group=config.group,
            member_id=f"reconstruction-{rank}",
            intake=Intake.for_gbuffers(),
            step=ReconstructionStep(config, self._reconstructor, stats),
            stats=stats,
            config=config.loop,
            health=config.health,
            export=MetricsExport(topic, "ReconstructionActor"),
        )

    def _close(self) -> None:
        """Nothing beyond the loop."""

    @property
    def _partitions(self) -> int:
        return self._config.streams.topics.gbuffers.partitions
