"""Call rate: an agent calls far more often than it usually does.

Judged a minute at a time over all sessions of an agent. Usual is the median over the last two hours of the minutes in
which it called at all, on a log scale, with the median absolute deviation as its spread; a floor keeps a perfectly
steady agent from firing on small change. A minute must also be well above every minute of that time, so that traffic
which bursts by nature stays silent. The minute judged is never in its own baseline, and a spike is not learned from.

rows    Usage messages of one tenant and pane (correlate: it sees all sessions of an agent)
memory  (tenant, agent) -> Minutes; about 2 kB; leaves after 24 h of silence
"""

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

import polars as pl

from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MINUTE
from schemas.usage import COUNTED_CALLS

KEEP = 24 * 60 * MINUTE
MINUTES = 120
ENOUGH = 20  # minutes with calls before anything is judged
LEAST_CALLS = 30
OPENS_AT = 6.0  # robust z on the log scale
ABOVE_ALL = 2.0  # times the busiest minute of the baseline
LEAST_SPREAD = 0.2  # on the log scale: about 20%


@dataclass(slots=True)
class Minutes:
    """Calls of the minute at hand, and of the minutes before it that had any."""

    minute: int = -1
    calls: int = 0
    said: bool = False
    usual: deque[int] = field(default_factory=lambda: deque(maxlen=MINUTES))


def fresh() -> Memory[tuple[str, str], Minutes]:
    """An empty memory."""
    return Memory(Minutes, KEEP)


def detect(
    usage: pl.DataFrame,
    pane: int,
    pane_size: int,
    memory: Memory[tuple[str, str], Minutes],
    limits: Limits,
) -> list[Signal]:
    """Add the calls of one pane, agent by agent; changes `memory`. Fires at most once a minute and agent."""
    if not usage.height:
        return []
    counted = usage.filter(pl.col("operation").is_in(COUNTED_CALLS))
    sums = counted.group_by("tenant", "agent_id").agg(pl.col("calls").sum())
    calls = {(tenant, agent): number for tenant, agent, number in sums.iter_rows()}
    minute = pane // MINUTE
    signals = []
    for (tenant, agent), number in sorted(calls.items()):
        seen = memory.get((tenant, agent), pane)
        if seen.minute != minute:
            if seen.calls and not seen.said:
                seen.usual.append(seen.calls)
            seen.minute, seen.calls, seen.said = minute, 0, False
        seen.calls += number
        if seen.said or len(seen.usual) < ENOUGH or seen.calls < LEAST_CALLS:
            continue
        logs = [math.log(value) for value in seen.usual]
        usual = median(logs)
        spread = max(LEAST_SPREAD, 1.4826 * median(abs(value - usual) for value in logs))
        score = (math.log(seen.calls) - usual) / spread
        if score < OPENS_AT or seen.calls < ABOVE_ALL * max(seen.usual):
            continue
        seen.said = True
        shows = f"{seen.calls} calls in this minute, usually {math.exp(usual):.0f}"
        signals.append(
            Signal(
                signal_id=stable_hash(tenant, agent, "call_rate.spike", minute),
                type="call_rate.spike",
                tenant=tenant,
                agent_id=agent,
                window_start=minute * MINUTE,
                window_end=pane + pane_size,
                detected_at=pane + pane_size,
                score=round(score, 2),
                summary=shows,
                evidence=compact_json({"calls": seen.calls, "usual": round(math.exp(usual), 1), "references": []}),
                rule_version=limits.rule_version,
            )
        )
    return signals
