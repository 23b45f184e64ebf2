"""Unknown people are remembered where the policy says so: one person is one, two are two, within bounds, on Valkey."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from actors.config import StreamRule
from actors.events import PersonSeen, frame_results
from actors.unknown import UnknownPeople
from foveal.cli import app
from gallery.changes import keep_apart, list_changes, undo
from gallery.config import GalleryConfig
from gallery.errors import GalleryConfigError, UnknownIdentityError
from gallery.health import check_gallery
from gallery.index import GalleryIndex
from gallery.provisional import add_provisional, expire_provisional, join, name_identity, provisional_ids, set_policy
from gallery.schema import Calibration, Candidate, Match, ProvisionalPolicy, Sighting
from gallery.store import GalleryStore
from streams.cloudevents import parse_result

pytestmark = pytest.mark.services
DIMENSION, EPOCH = 32, "net-1"
POLICY = ProvisionalPolicy(at_most=10, expire_after_s=3600, surer_by=0.1)
SHARP = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)


class Looks:
    """Views of people who differ; `turned` mixes two sides of one person."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(1)
        self._of = np.linalg.qr(self._random.normal(size=(DIMENSION, 8)))[0].T

    def __call__(self, who: int, *, other: int | None = None, turned: float = 0.0) -> NDArray[np.float32]:
        middle = self._of[who] if other is None else (1 - turned) * self._of[who] + turned * self._of[other]
        view = middle / np.linalg.norm(middle) + 0.15 * self._random.normal(size=DIMENSION) / np.sqrt(DIMENSION)
        return np.asarray(view / np.linalg.norm(view), np.float32)


@pytest.fixture
def config(valkey: str) -> GalleryConfig:
    return GalleryConfig(url=valkey, heartbeat_s=0.02)


@pytest.fixture
def store(config: GalleryConfig) -> Iterator[GalleryStore]:
    with GalleryStore(config, who="perception") as opened:
        yield opened


@pytest.fixture
def lobby(store: GalleryStore) -> Iterator[str]:
    name = f"lobby-{uuid4().hex}"
    store.create(name, dimension=DIMENSION, epoch=EPOCH, threshold=0.6)
    set_policy(store, name, POLICY)
    yield name
    store.remove_gallery(name)


@pytest.fixture
def replica(config: GalleryConfig, store: GalleryStore, lobby: str) -> Iterator[Callable[[], UnknownPeople]]:
    """Makes what one replica has: an index and the thread that remembers."""
    with ExitStack() as stack:

        def make() -> UnknownPeople:
            index = stack.enter_context(GalleryIndex(config, galleries=[lobby]))
            index.wait_until_synced(10)
            people = UnknownPeople(store, index, epoch=EPOCH)
            people.start()
            stack.callback(people.close)
            return people

        yield make


def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def seen(stream: str, at_ms: int, track: int = 0, identity: str = "") -> Sighting:
    return Sighting(
        event_id=uuid4().hex,
        identity_id=identity,
        stream_id=stream,
        seen_at_ms=at_ms,
        track_id=track,
        box_xyxy=(100, 50, 200, 350),
    )


def show(people: UnknownPeople, lobby: str, looks: Callable[[], Any], stream: str, track: int = 0, at: int = 0) -> None:
    """A second of somebody, five frames."""
    for i in range(6):
        people.add(lobby, looks(), seen(stream, at + 200 * i, track), SHARP, 1)


def test_one_person_on_two_streams_is_one_and_two_people_are_two(
    store: GalleryStore, lobby: str, replica: Callable[[], UnknownPeople]
) -> None:
    people, looks = replica(), Looks()
    show(people, lobby, lambda: looks(0), "door")
    until(lambda: people.remembered == 1)
    show(people, lobby, lambda: looks(0), "hall", at=5_000)
    show(people, lobby, lambda: looks(1), "hall", track=1, at=5_000)
    until(lambda: people.remembered == 2)
    first, second = provisional_ids(store, lobby)
    by = {frozenset(s.stream_id for s in store.sightings(lobby, one)) for one in (first, second)}
    assert by == {frozenset({"door", "hall"}), frozenset({"hall"})}
    assert all(one.name is None for one in store.list_identities(lobby))


def test_two_replicas_at_one_moment_are_merged_and_it_can_be_undone(
    store: GalleryStore, lobby: str, replica: Callable[[], UnknownPeople]
) -> None:
    looks, ends = Looks(), []
    for stream in ("door", "hall"):  # neither knows yet of whom the other remembers
        views = np.stack([looks(0) for _ in range(3)])
        ends.append(add_provisional(store, lobby, views, [0.5] * 3, POLICY, epoch=EPOCH).identity_id)
        store.record_sightings(lobby, [seen(stream, 1_000, identity=ends[-1])])
    people = replica()
    people._joins.append((0.0, lobby, ends[1]))
    until(lambda: people.joined == 1)
    assert provisional_ids(store, lobby) == [ends[0]]
    [change] = list_changes(store, lobby)
    assert (change.op, change.identity_id, change.into, change.who) == ("merge", ends[1], ends[0], "perception")
    assert change.reason.startswith("provisional: cosine 0.9")
    assert {s.stream_id for s in store.sightings(lobby, ends[0])} == {"door", "hall"}
    undo(store, lobby)
    assert set(provisional_ids(store, lobby)) == set(ends)


@pytest.mark.parametrize("why", ["apart", "at once", "not sure"])
def test_who_is_not_surely_the_same_is_not_merged(
    config: GalleryConfig, store: GalleryStore, lobby: str, why: str
) -> None:
    looks, ends = Looks(), []
    for track in (0, 1):
        views = np.stack([looks(0, other=1, turned=0.45 * track if why == "not sure" else 0.0) for _ in range(3)])
        ends.append(add_provisional(store, lobby, views, [0.5] * 3, POLICY, epoch=EPOCH).identity_id)
        times = (0, 2_000) if why == "at once" else (5_000 * track,)
        store.record_sightings(lobby, [seen("door", at, track, ends[-1]) for at in times])
    if why == "apart":
        keep_apart(store, lobby, *ends)
    if why == "not sure":
        set_policy(store, lobby, POLICY.model_copy(update={"surer_by": 0.2}))
    with GalleryIndex(config, galleries=[lobby]) as index:
        index.wait_until_synced(10)
        assert join(store, index, lobby, ends[1]) is None
    assert set(provisional_ids(store, lobby)) == set(ends)


def test_views_on_a_track_bring_two_sides_of_a_person_together(
    store: GalleryStore, lobby: str, replica: Callable[[], UnknownPeople]
) -> None:
    people, looks = replica(), Looks()
    show(people, lobby, lambda: looks(0), "door")
    until(lambda: people.remembered == 1)
    show(people, lobby, lambda: looks(1), "hall", at=100_000)  # seen from behind: somebody else, it seems
    until(lambda: people.remembered == 2)
    for i in range(1, 9):  # and he turns round on his track
        people.add(lobby, looks(1, other=0, turned=i / 8), seen("hall", 101_000 + 2_500 * i), SHARP, 1)
        time.sleep(0.05)
    until(lambda: people.joined == 1)
    [both] = store.list_identities(lobby)
    assert both.vector_count >= 9
    assert {s.stream_id for s in store.sightings(lobby, both.identity_id)} == {"door", "hall"}


def test_bounds_and_expiry(store: GalleryStore, lobby: str) -> None:
    looks = Looks()
    ids = []
    for who in range(4):
        policy = POLICY.model_copy(update={"at_most": 3})
        ids.append(add_provisional(store, lobby, looks(who)[None], [0.5], policy, epoch=EPOCH).identity_id)
        time.sleep(0.005)
    assert provisional_ids(store, lobby) == ids[1:]
    store.enrol(lobby, looks(6), identity_id="ada", name="Ada")
    assert expire_provisional(store, lobby) == []
    set_policy(store, lobby, POLICY.model_copy(update={"expire_after_s": 1}))
    time.sleep(1.1)
    now_ms = round(store.server_time_s() * 1000)
    store.record_sightings(lobby, [seen("door", now_ms, identity=ids[2])])
    assert sorted(expire_provisional(store, lobby)) == sorted([ids[1], ids[3]])
    assert {one.identity_id for one in store.list_identities(lobby)} == {ids[2], "ada"}
    assert [line["reason"] for line in store.audit(lobby) if line["op"] == "expire"][-1] == "provisional: at_most"


def test_a_name_makes_known_and_nobody_comes_back_who_was_removed(
    store: GalleryStore, lobby: str, replica: Callable[[], UnknownPeople]
) -> None:
    people, looks = replica(), Looks()
    show(people, lobby, lambda: looks(0), "door")
    until(lambda: people.remembered == 1)
    [one] = provisional_ids(store, lobby)
    match = people._index.match
    until(lambda: match(looks(0), lobby)[0].provisional == one)
    assert match(looks(0), lobby)[0].status == "unknown"
    with pytest.raises(GalleryConfigError):
        name_identity(store, lobby, one, " ")
    assert name_identity(store, lobby, one, "Ada") == one
    until(lambda: match(looks(0), lobby)[0].status == "known")
    assert (match(looks(0), lobby)[0].name, provisional_ids(store, lobby)) == ("Ada", [])
    people.add(lobby, looks(0), seen("door", 60_000), SHARP, 1)  # a known person gets no vectors by himself
    store.remove(lobby, one)
    people.add(lobby, looks(0), seen("door", 90_000), SHARP, 1)
    until(lambda: people._waiting.empty())
    with pytest.raises(UnknownIdentityError):
        store.show(lobby, one)


def test_without_a_policy_or_a_good_view_nobody_is_remembered(
    store: GalleryStore, lobby: str, replica: Callable[[], UnknownPeople]
) -> None:
    people, looks = replica(), Looks()
    blurred = np.full((400, 400, 3), 90, np.uint8)
    for i in range(6):
        people.add(lobby, looks(0), seen("door", 200 * i), blurred, 1)
        people.add(lobby, looks(0), seen("door", 200 * i).model_copy(update={"track_id": None}), SHARP, 1)
    set_policy(store, lobby, None)
    until(lambda: people._index.info(lobby).provisional is None)
    show(people, lobby, lambda: looks(0), "door")
    until(lambda: people._waiting.empty())
    assert (provisional_ids(store, lobby), people.remembered) == ([], 0)
    assert people._index.match(looks(0), lobby)[0].provisional is None


def test_a_known_person_stays_known_beside_a_nearer_provisional_one(
    config: GalleryConfig, store: GalleryStore, lobby: str
) -> None:
    looks = Looks()
    store.enrol(lobby, looks(0), identity_id="ada", name="Ada")
    add_provisional(store, lobby, looks(0, other=1, turned=0.3)[None], [0.5], POLICY, epoch=EPOCH)
    with GalleryIndex(config, galleries=[lobby]) as index:
        index.wait_until_synced(10)
        [match] = index.match(looks(0, other=1, turned=0.3), lobby)
    assert (match.status, match.identity_id, match.provisional) == ("known", "ada", None)


def test_the_result_says_unknown_with_the_provisional_id() -> None:
    match = Match.decide(
        [Candidate("provisional-7", None, 0.8), Candidate("ada", "Ada", 0.3)], 0.6, provisional_from=0.7
    )
    person = PersonSeen(np.array([0, 0, 10, 20], np.float32), 0.9, 3, match)
    record: Any = SimpleNamespace(
        stream_id="door",
        seq=0,
        captured_at_ns=0,
        width=64,
        height=48,
        origin="t/0/0",
        appended_at_ms=1,
        part_offsets=(0,),
    )
    [sent, _] = frame_results(record, StreamRule(), [person], [])
    [told] = parse_result(sent.headers, sent.value).result.people  # type: ignore[union-attr]
    assert (told.identity.status, told.identity.provisional) == ("unknown", "provisional-7")
    assert (told.identity.identity_id, told.identity.score) == (None, 0.3)


def test_the_commands_set_the_policy_and_name(
    store: GalleryStore, lobby: str, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOVEAL_REDIS__URL", valkey)

    def run(*words: str) -> Any:
        done = CliRunner().invoke(app, ["gallery", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    one = add_provisional(store, lobby, Looks()(0)[None], [0.5], POLICY, epoch=EPOCH).identity_id
    told = run("provisional", lobby, "--at-most", "7", "--days", "0.5", "--json")
    assert told == {"policy": {"at_most": 7, "expire_after_s": 43_200, "surer_by": 0.1}, "identities": [one]}
    assert run("name", lobby, one, "Ada", "--json") == {"identity_id": one, "name": "Ada"}
    assert run("provisional", lobby, "--off", "--json") == {"policy": None, "identities": []}


def test_sure_is_the_calibrated_threshold_or_clearly_above_another(
    config: GalleryConfig, store: GalleryStore, lobby: str
) -> None:
    looks = Looks()
    alike = looks(0, other=1, turned=0.45)  # a cosine of 0.77 with the first
    one = add_provisional(store, lobby, looks(0)[None], [0.5], POLICY, epoch=EPOCH).identity_id
    set_policy(store, lobby, ProvisionalPolicy())
    with GalleryIndex(config, galleries=[lobby]) as index:
        index.wait_until_synced(10)
        assert store.info(lobby).provisional_from == pytest.approx(0.85)
        assert index.match(alike, lobby)[0].provisional is None
        calibration = Calibration(
            fpir=0.01,
            threshold=0.65,
            method="tail",
            identities=40,
            stranger_searches=40,
            known_searches=0,
            missed=None,
            weights=None,
        )
        store.set_calibration(lobby, calibration)
        until(lambda: index.match(alike, lobby)[0].provisional == one)


def test_check_suspects_two_of_them_only_where_they_are_surely_one(store: GalleryStore, lobby: str) -> None:
    looks = Looks()
    set_policy(store, lobby, ProvisionalPolicy())
    add_provisional(store, lobby, looks(0)[None], [0.5], POLICY, epoch=EPOCH)
    alike = add_provisional(store, lobby, looks(0, other=1, turned=0.45)[None], [0.5], POLICY, epoch=EPOCH)
    assert check_gallery(store, lobby).duplicate_suspects == ()
    name_identity(store, lobby, alike.identity_id, "Ada")
    assert len(check_gallery(store, lobby).duplicate_suspects) == 1
