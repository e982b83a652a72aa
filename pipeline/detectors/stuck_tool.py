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
from typing import NamedTuple

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
Key = tuple[str, str]


@dataclass(slots=True)
class Times:
    """How long the last calls of a tool took, in milliseconds."""

    took: deque[int] = field(default_factory=lambda: deque(maxlen=CALLS))


class Ended(NamedTuple):
    """Tool calls of one agent, version and target that ended in a pane: how many, and milliseconds together."""

    tool_name: str
    agent_id: str
    agent_version: str | None
    target: str | None
    calls: int
    duration_ms: int


def fresh() -> Memory[Key, Times]:
    """An empty memory."""
    return Memory(Times, KEEP)


def detect(used: Used, pane: int, pane_size: int, memory: Memory[Key, Times], limits: Limits) -> list[Signal]:
    """Judge the tool calls that ended in one pane, then learn from them; changes `memory`."""
    signals = []
    for ended in _ended(used):
        seen = memory.get((used.tenant, ended.tool_name), pane)
        can_be_stuck = len(seen.took) >= ENOUGH and ended.duration_ms >= LEAST_MS  # together: so no call was longer
        usual = median(seen.took) if can_be_stuck else None
        longest = round(ended.duration_ms - (ended.calls - 1) * usual) if usual is not None else 0
        if usual is None or not _is_stuck(longest, max(1, usual), seen.took):
            seen.took.append(ended.duration_ms // ended.calls)
            continue
        signals.append(_signal(used.tenant, ended, longest, usual, pane, pane_size, limits))
    return signals


def _ended(used: Used) -> list[Ended]:
    """In an order that does not depend on that of the rows."""
    sums: dict[tuple[str, str, str | None, str | None], list[int]] = {}
    for row in used.rows:
        if row.tool_name is not None and row.operation in TOOLS:
            total = sums.setdefault((row.tool_name, row.agent_id, row.agent_version, row.target), [0, 0])
            total[0] += row.calls
            total[1] += row.duration_ms
    return [Ended(*of, *sums[of]) for of in sorted(sums, key=lambda of: tuple(map(str, of)))]


def _is_stuck(longest: int, usual: float, took: deque[int]) -> bool:
    if longest < LEAST_MS or longest < TIMES * usual or longest < ABOVE_ALL * max(took):
        return False
    spread = 1.4826 * median(abs(math.log(max(1, value) / usual)) for value in took)
    return math.log(longest / usual) >= OPENS_AT * max(spread, LEAST_SPREAD)


def _signal(tenant: str, ended: Ended, longest: int, usual: float, pane: int, pane_size: int, limits: Limits) -> Signal:
    end = pane + pane_size
    took, usually = format_span(longest * 1000), format_span(round(usual * 1000))
    shows = f"a call of {ended.tool_name} took {took}, usually {usually}"
    signal_id = stable_hash(
        tenant, ended.tool_name, ended.agent_id, ended.agent_version, ended.target, "stuck_tool.slow", pane
    )
    return Signal(
        signal_id=signal_id,
        type="stuck_tool.slow",
        tenant=tenant,
        agent_id=ended.agent_id,
        agent_version=ended.agent_version,
        resource=ended.target,
        window_start=end - longest * 1000,
        window_end=end,
        detected_at=end,
        score=round(longest / max(1, usual), 1),
        summary=shows,
        evidence=compact_json(
            {
                "took_ms": longest,
                "usual_ms": round(usual),
                "tool": ended.tool_name,
                "references": [usage_reference(signal_id, end, shows)],
            }
        ),
        rule_version=limits.rule_version,
    )
