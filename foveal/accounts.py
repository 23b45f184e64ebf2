"""The audit of both input topics together, with the totals and the text that a person reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.config import AppConfig
from streams.audit import AuditReport, PartitionAudit, audit

__all__ = ["Accounts", "audit_inputs"]

TOTALS = ("offsets", "results", "drops", "deadletters", "pending", "missing", "duplicated")


@dataclass(frozen=True, slots=True)
class Accounts:
    """Reports of one or more input topics."""

    reports: tuple[AuditReport, ...]

    @property
    def complete(self) -> bool:
        """Every offset of every topic has exactly one outcome."""
        return all(report.complete for report in self.reports)

    def totals(self) -> dict[str, int]:
        """offsets, results, drops, deadletters, pending, missing, duplicated over all topics."""
        sums: Counter[str] = Counter(dict.fromkeys(TOTALS, 0))
        for report in self.reports:
            sums.update(report.totals)
        return dict(sums)

    def to_json(self) -> str:
        """One object: totals, and each topic with its partitions."""
        topics: list[dict[str, Any]] = [report.to_dict() for report in self.reports]
        return json.dumps({"complete": self.complete, **self.totals(), "topics": topics}, indent=2)

    def to_text(self) -> str:
        """A line a partition, and what it comes to."""
        lines = [
            f"{f'{report.topic}/{one.partition}':<20} {_partition(one)}"
            for report in self.reports
            for one in report.partitions
        ]
        totals = self.totals()
        if self.complete:
            lines.append(f"Every one of {totals['offsets']:,} offsets has exactly one outcome.")
        else:
            wrong = ", ".join(
                f"{totals[name]:,} {name}" for name in ("pending", "missing", "duplicated") if totals[name]
            )
            lines.append(f"NOT complete: of {totals['offsets']:,} offsets {wrong}.")
        return "\n".join(lines)


def audit_inputs(config: AppConfig, topics: Sequence[str] | None = None) -> Accounts:
    """Audit the named input topics, or both, each for the group that its actor is a member of.

    Raises: AuditError, BrokerUnavailableError.
    """
    groups = {
        config.streams.topics.frames.name: config.perception.group,
        config.streams.topics.gbuffers.name: config.reconstruction.group,
    }
    names = list(topics) if topics else list(groups)
    return Accounts(tuple(audit(config.streams, name, groups.get(name)) for name in names))


def _partition(one: PartitionAudit) -> str:
    dead = f" ({_reasons(one.deadletters)})" if one.deadletters else ""
    drops = f" ({_reasons(one.drops)})" if one.drops else ""
    text = (
        f"{one.offsets:>9,} offsets {one.results:>9,} results {sum(one.drops.values()):>6,} drops{drops} "
        f"{sum(one.deadletters.values()):>4,} dead letters{dead}"
    )
    wrong = [(name, getattr(one, name)) for name in ("pending", "missing", "duplicated")]
    named = {"missing": one.missing_offsets, "duplicated": one.duplicated_offsets, "pending": ()}
    said = [f"{count:,} {name} {list(named[name]) or ''}".rstrip() for name, count in wrong if count]
    return f"{text}   {'; '.join(said) if said else 'complete'}"


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
