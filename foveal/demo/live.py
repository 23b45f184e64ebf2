"""The demo's live table: one row a stream."""

from __future__ import annotations

from rich.table import Table

from foveal.demo.account import DemoAccount, StreamAccount

__all__ = ["live_table"]

# Short enough for a terminal of 80 columns; latency is from capture to the append of the result.
COLUMNS = ("stream", "in", "out", "fps", "p50/p95 ms", "lag", "people", "identities", "expression", "drop", "dead")


def live_table(account: DemoAccount) -> Table:
    """Streams, frames per second, latency, lag, people, identities, expressions, drops, as they are now."""
    table = Table(title="Foveal, live", title_style="bold", expand=True, padding=(0, 0))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in {"stream", "identities", "expression"} else "right")
    with account.lock:
        for stream in account.streams.values():
            table.add_row(*_row(stream))
    return table


def _row(stream: StreamAccount) -> tuple[str, ...]:
    p50, p95 = stream.latency_ms(50), stream.latency_ms(95)
    return (
        stream.stream_id,
        f"{stream.frames_in:,}",
        f"{stream.results:,}",
        f"{stream.fps_now():.1f}",
        "-" if p50 is None or p95 is None else f"{p50:.0f}/{p95:.0f}",
        f"{stream.lag:,}",
        str(len(stream.people[max(stream.people)].people)) if stream.people else "-",
        ", ".join(sorted(stream.identities)) or "-",
        _expressions(stream),
        f"{len(stream.drops):,}",
        f"{len(stream.deadletters):,}",
    )


def _expressions(stream: StreamAccount) -> str:
    if not stream.expressions:
        return "-"
    latest = stream.expressions[max(stream.expressions)]
    said = [
        f"{shown.label} {shown.probabilities[shown.label]:.2f}"
        for face in latest.faces
        if (shown := face.shown) is not None
    ]
    return ", ".join(said[:1]) or "-"
