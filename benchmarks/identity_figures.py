"""How well identities hold: switches a minute, identities given to a person, and whether who comes back is known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.visits import There
from models.tracking.association import box_iou
from streams.messages import PeopleResult

__all__ = ["Pairing", "Seen", "figures"]

LASTING_S = 1.0
LEAST_IOU = 0.4
"""The boxes told by hand are rough."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was published of a person who is there in a frame; Nones where he was not found, followed, identified."""

    stream: str
    at_s: float
    there: There
    found: bool
    track: int | None
    identity: str | None


class Pairing:
    """Everyone who is there with a person of the result, each at most once.

    As in CLEAR MOT (Bernardin and Stiefelhagen, 2008, section 2.1.1): who was paired with a track in the stream's frame
    before stays with it while the boxes overlap enough; only then the largest overlap decides. People who are not told
    of cross the way of those who are.
    """

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    def pair(self, stream: str, at_s: float, there: Sequence[There], result: PeopleResult) -> list[Seen]:
        """What was published of each of those who are there in the stream's next frame."""
        mine = np.array([one.box_xyxy for one in there], np.float64).reshape(-1, 4)
        overlaps = box_iou(mine, np.array([one.box_xyxy for one in result.people], np.float64).reshape(-1, 4))
        stays = np.array(
            [[self._before.get(one.person, -1) == person.track_id for person in result.people] for one in there], bool
        ).reshape(overlaps.shape)
        rows: dict[int, int] = {}
        for at in np.argsort(-(overlaps + stays), axis=None, kind="stable"):
            who, row = (int(index) for index in np.unravel_index(at, overlaps.shape))
            if overlaps[who, row] >= LEAST_IOU and who not in rows and row not in rows.values():
                rows[who] = row
        seen = []
        for who, one in enumerate(there):
            person = result.people[rows[who]] if who in rows else None
            track = None if person is None else person.track_id
            identity = None if person is None else person.identity.identity_id or person.identity.provisional
            seen.append(Seen(stream, at_s, one, person is not None, track, identity))
        self._before = {one.there.person: one.track for one in seen if one.track is not None}
        return seen


def figures(seen: Sequence[Seen], frame_s: float) -> dict[str, Any]:
    """The figures of one scene; `frame_s` is how long a frame is.

    A switch is an identity other than the person's last one, whatever lay between; a lasting one stays for `LASTING_S`,
    which somebody who crosses the way and is taken for the person in a frame does not. `returns` are by person and
    later visit: the most frequent identity there is one of an earlier visit (`held`), new, somebody else's, or none.
    """
    by_person: dict[str, list[Seen]] = defaultdict(list)
    for one in sorted(seen, key=lambda one: one.at_s):
        by_person[one.there.person].append(one)
    names: dict[str, str] = {}
    for one in sorted(seen, key=lambda one: one.at_s):
        if one.identity is not None:
            names.setdefault(one.identity, f"i{len(names) + 1}")
    main = {who: _main_by_visit(rows) for who, rows in by_person.items()}
    people: dict[str, dict[str, Any]] = {
        who: {
            "frames": len(rows),
            "found": _share(one.found for one in rows),
            "identified": _share(one.identity is not None for one in rows),
            "identities": dict(Counter(names[one.identity] for one in rows if one.identity is not None)),
            "identity_switches": _changes([one.identity for one in rows]),
            "lasting_identity_switches": _changes(_lasting(rows)),
            "track_switches": _track_changes(rows),
            "visits": [names[one] if one is not None else None for one in main[who].values()],
            "returns": _returns(who, main),
        }
        for who, rows in by_person.items()
    }
    minutes = len({(one.stream, one.at_s) for one in seen}) * frame_s / 60
    holders: dict[str, set[str]] = defaultdict(set)
    for who, visits in main.items():
        for identity in visits.values():
            if identity is not None:
                holders[identity].add(who)
    returns = Counter(outcome for one in people.values() for outcome in one["returns"])
    switches, lasting = (
        sum(one[name] for one in people.values()) for name in ("identity_switches", "lasting_identity_switches")
    )
    track_switches = sum(one["track_switches"] for one in people.values())
    return {
        "people": len(people),
        "stream_minutes_with_somebody": round(minutes, 2),
        "found": _share(one.found for one in seen),
        "identified": _share(one.identity is not None for one in seen),
        "identity_switches": switches,
        "identity_switches_a_minute": round(switches / minutes, 2) if minutes else 0.0,
        "lasting_identity_switches_a_minute": round(lasting / minutes, 2) if minutes else 0.0,
        "track_switches_a_minute": round(track_switches / minutes, 2) if minutes else 0.0,
        "identities_a_person": round(float(np.mean([len(one["identities"]) for one in people.values()])), 2),
        "identities_of_several_people": sum(len(who) > 1 for who in holders.values()),
        "returns": {"all": sum(returns.values()), **{name: returns[name] for name in OUTCOMES}},
        "by_person": people,
    }


OUTCOMES = ("held", "new", "somebody else's", "none", "first time")


def _returns(who: str, main: dict[str, dict[int, str | None]]) -> list[str]:
    visits = list(main[who].values())
    others = {one for name, found in main.items() if name != who for one in found.values()} - {None}
    outcomes = []
    for number, identity in enumerate(visits[1:], start=1):
        before = {one for one in visits[:number] if one is not None}
        if identity is None:
            outcomes.append("none")
        elif identity in before:
            outcomes.append("held")
        elif identity in others:
            outcomes.append("somebody else's")
        else:
            outcomes.append("new" if before else "first time")
    return outcomes


def _main_by_visit(rows: Sequence[Seen]) -> dict[int, str | None]:
    """The most frequent identity of each visit, in the order of the visits."""
    counts: dict[int, Counter[str]] = {one.there.visit: Counter() for one in rows}
    for one in rows:
        if one.identity is not None:
            counts[one.there.visit][one.identity] += 1
    return {visit: count.most_common(1)[0][0] if count else None for visit, count in counts.items()}


def _changes(values: Sequence[object]) -> int:
    known = [one for one in values if one is not None]
    return sum(before != after for before, after in pairwise(known))


def _lasting(rows: Sequence[Seen]) -> list[str | None]:
    """The person's identities in turn, without those that came and went within `LASTING_S`."""
    runs: list[tuple[str, float, float]] = []
    for one in rows:
        if one.identity is None:
            continue
        if runs and runs[-1][0] == one.identity:
            runs[-1] = (one.identity, runs[-1][1], one.at_s)
        else:
            runs.append((one.identity, one.at_s, one.at_s))
    return [identity for identity, since_s, until_s in runs if until_s - since_s >= LASTING_S]


def _track_changes(rows: Sequence[Seen]) -> int:
    """Within visits: a track is not meant to outlast a long absence."""
    visits = {one.there.visit for one in rows}
    return sum(_changes([one.track for one in rows if one.there.visit == visit]) for visit in visits)


def _share(values: Iterable[bool]) -> float:
    given = list(values)
    return round(sum(given) / len(given), 3) if given else 0.0
