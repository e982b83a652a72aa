"""Stuck tool: a call takes many times as long as this tool ever took.

Usual is the median of its last 100 calls, on a log scale, over all agents. A call is stuck when it is beyond ten times
that, beyond twice the longest of them, beyond six robust deviations, and beyond two minutes. It is told of when it
ends: before that nothing is sent. It is not learned from.

rows    usage of one tenant and pane (correlate): of several calls of a pane the mean is learned, the longest judged
memory  (tenant, tool) -> Times; about 1.2 kB; leaves after a week of silence
"""

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

import polars as pl

from pipeline.core.evidence import usage_reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from pipeline.core.used import Used
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MINUTE, format_span

KEEP = 7 * 24 * 60 * MINUTE
CALLS = 100
ENOUGH = 15
TIMES = 10.0
ABOVE_ALL = 2.0
OPENS_AT = 6.0
LEAST_SPREAD = 0.2
LEAST_MS = 120_000
TOOLS = ("execute_tool", "retrieval")
BY = ("tenant", "tool_name", "agent_id", "agent_version", "target")
Key = tuple[str, str]


@dataclass(slots=True)
class Times:
    """How long the last calls of a tool took, in milliseconds."""

    took: deque[int] = field(default_factory=lambda: deque(maxlen=CALLS))


def fresh() -> Memory[Key, Times]:
    """An empty memory."""
    return Memory(Times, KEEP)


def detect(used: Used, pane: int, pane_size: int, memory: Memory[Key, Times], limits: Limits) -> list[Signal]:
    """Judge the tool calls that ended in one pane, then learn from them; changes `memory`."""
    if not used:
        return []
    ended = used.table.filter(pl.col("operation").is_in(TOOLS), pl.col("tool_name").is_not_null())
    sums = ended.group_by(BY).agg(pl.col("calls", "duration_ms").sum())
    signals = []
    for row in sorted(sums.iter_rows(named=True), key=lambda row: tuple(str(row[name]) for name in BY)):
        seen = memory.get((row["tenant"], row["tool_name"]), pane)
        can_be_stuck = len(seen.took) >= ENOUGH and row["duration_ms"] >= LEAST_MS  # together: so no call was longer
        usual = median(seen.took) if can_be_stuck else None
        longest = round(row["duration_ms"] - (row["calls"] - 1) * usual) if usual is not None else 0
        if usual is None or not _is_stuck(longest, max(1, usual), seen.took):
            seen.took.append(row["duration_ms"] // row["calls"])
            continue
        signals.append(_signal(row, longest, usual, pane, pane_size, limits))
    return signals


def _is_stuck(longest: int, usual: float, took: deque[int]) -> bool:
    if longest < LEAST_MS or longest < TIMES * usual or longest < ABOVE_ALL * max(took):
        return False
    spread = 1.4826 * median(abs(math.log(max(1, value) / usual)) for value in took)
    return math.log(longest / usual) >= OPENS_AT * max(spread, LEAST_SPREAD)


def _signal(row: dict[str, str], longest: int, usual: float, pane: int, pane_size: int, limits: Limits) -> Signal:
    end = pane + pane_size
    took, usually = format_span(longest * 1000), format_span(round(usual * 1000))
    shows = f"a call of {row['tool_name']} took {took}, usually {usually}"
    signal_id = stable_hash(*(row[name] for name in BY), "stuck_tool.slow", pane)
    return Signal(
        signal_id=signal_id,
        type="stuck_tool.slow",
        tenant=row["tenant"],
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        resource=row["target"],
        window_start=end - longest * 1000,
        window_end=end,
        detected_at=end,
        score=round(longest / max(1, usual), 1),
        summary=shows,
        evidence=compact_json(
            {
                "took_ms": longest,
                "usual_ms": round(usual),
                "tool": row["tool_name"],
                "references": [usage_reference(signal_id, end, shows)],
            }
        ),
        rule_version=limits.rule_version,
    )
