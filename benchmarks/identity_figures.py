"""How well identities hold: switches a minute, identities given to a person, and whether who comes back is known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.visits import Box, There
from streams.messages import PeopleResult

__all__ = ["Seen", "figures", "pair"]

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


def pair(stream: str, at_s: float, there: Sequence[There], result: PeopleResult) -> list[Seen]:
    """Everyone who is there with the person of the result whose box is most like his, each at most once."""
    overlaps = sorted(
        ((_iou(one.box_xyxy, person.box_xyxy), who, row) for who, one in enumerate(there)
         for row, person in enumerate(result.people)),
        reverse=True,
    )  # fmt: skip
    rows: dict[int, int] = {}
    for overlap, who, row in overlaps:
        if overlap >= LEAST_IOU and who not in rows and row not in rows.values():
            rows[who] = row
    seen = []
    for who, one in enumerate(there):
        person = result.people[rows[who]] if who in rows else None
        track = None if person is None else person.track_id
        identity = None if person is None else person.identity.identity_id or person.identity.provisional
        seen.append(Seen(stream, at_s, one, person is not None, track, identity))
    return seen


def figures(seen: Sequence[Seen], frame_s: float) -> dict[str, Any]:
    """The figures of one scene; `frame_s` is how long a frame is.

    A switch is an identity other than the person's last one, whatever lay between. `returns` are by person and later
    visit: his most frequent identity there is one of an earlier visit (`held`), a new one, somebody else's, or none.
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
    switches = sum(one["identity_switches"] for one in people.values())
    track_switches = sum(one["track_switches"] for one in people.values())
    return {
        "people": len(people),
        "stream_minutes_with_somebody": round(minutes, 2),
        "found": _share(one.found for one in seen),
        "identified": _share(one.identity is not None for one in seen),
        "identity_switches": switches,
        "identity_switches_a_minute": round(switches / minutes, 2) if minutes else 0.0,
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


def _track_changes(rows: Sequence[Seen]) -> int:
    """Within visits: a track is not meant to outlast a long absence."""
    visits = {one.there.visit for one in rows}
    return sum(_changes([one.track for one in rows if one.there.visit == visit]) for visit in visits)


def _share(values: Iterable[bool]) -> float:
    given = list(values)
    return round(sum(given) / len(given), 3) if given else 0.0


def _iou(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)
