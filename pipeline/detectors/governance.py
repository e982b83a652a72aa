"""Governance: a session goes past a limit that it or its operator has declared.

`governance.step_limit`: a step above `max_steps` (the span's own, or that of `limits.yml`), once a session.
`governance.calls_limit`: more calls than `calls_per_session`: when that is passed, then at each doubling. Calls are
model calls, tool calls, retrievals and hand-offs, counted from when the limit came into force.
`governance.tool_not_allowed`: a tool that `allowed_tools` does not name has answered, once a session.
What an agent changes without the care that is asked of it: unguarded_change.py.

memory  10 bytes a live session: calls, and what was said
"""

from typing import Any

import numpy as np

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits, is_named
from pipeline.core.rows import Rows, asked
from pipeline.core.sessions import Columns, SessionIndex, Slots
from schemas.resources import scope_of
from schemas.signals import Signal, compact_json, stable_hash

AGENT = ("tenant", "agent_id", "agent_version")
CALLS = ("chat", "execute_tool", "retrieval", "handoff")
TOOLS = ("execute_tool", "retrieval")
ROW = (
    "tenant", "session_id", "root_session_id", "agent_id", "agent_version", "tool_name", "target", "step", "max_steps",
    "start_time", "event_time", "span_id", "partition", "offset", "pane",
)  # fmt: skip


def fresh(index: SessionIndex) -> Columns:
    """An empty memory."""
    memory = Columns(said_step_limit=("uint8", 0), said_tool=("uint8", 0), calls=("int64", 0))
    index.attach(memory)
    return memory


def detect(rows: Rows, memory: Columns, limits: Limits) -> list[Signal]:
    """Judge the few rows that could break a limit; changes `memory`."""
    if not len(rows):
        return []
    return [
        *_steps(rows, memory, limits),
        *_calls(rows, memory, limits),
        *_tools(rows, memory, limits),
    ]


def _steps(rows: Rows, memory: Columns, limits: Limits) -> list[Signal]:
    steps, own = rows.ints("step"), rows.ints("max_steps")
    is_declared = limits.states("max_steps")
    places = np.flatnonzero(steps >= 0 if is_declared else (own >= 0) & (steps > own))
    if places.size and is_declared:
        declared = asked(rows, places, AGENT, lambda *agent: _of_agent(limits, "max_steps", *agent) or -1)
        least = np.where(own[places] >= 0, own[places], declared)
        least = np.where(declared >= 0, np.minimum(least, declared), least)
        places = places[(least >= 0) & (steps[places] > least)]
    signals = []
    for row in _once(rows, places, memory["said_step_limit"]):
        stated = _of_agent(limits, "max_steps", row["tenant"], row["agent_id"], row["agent_version"])
        most = min(limit for limit in (row["max_steps"], stated) if limit is not None)
        shows = f"step {row['step']} of at most {most}"
        gap = "step limit: passed, nothing stopped the session"
        signals.append(_signal(row, "step_limit", shows, gap, rows, limits, step=row["step"], limit=most))
    return signals


def _calls(rows: Rows, memory: Columns, limits: Limits) -> list[Signal]:
    """Each call has its number in the session: those just above the limit, or a doubling of it, are told of."""
    if not limits.states("calls_per_session"):
        return []
    places = np.flatnonzero(rows.equals("operation", *CALLS))
    if not places.size:
        return []
    places = places[np.argsort(rows.slots[places], kind="stable")]
    slots = rows.slots[places]
    starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    lengths = np.diff(np.concatenate([starts, [slots.size]]))
    number = np.arange(slots.size) - np.repeat(starts, lengths) + 1 + memory["calls"][slots]
    memory["calls"][slots[starts]] += lengths
    most = asked(rows, places, AGENT, lambda *agent: _of_agent(limits, "calls_per_session", *agent) or 0)
    times = (number - 1) // np.maximum(most, 1)
    is_told = (most > 0) & ((number - 1) % np.maximum(most, 1) == 0) & (times > 0) & (times & (times - 1) == 0)
    told = np.flatnonzero(is_told)
    signals = []
    for place, row in zip(told.tolist(), rows.take(places[told], ROW).rows(named=True), strict=True):
        calls, limit = int(number[place]), int(most[place])
        shows = f"call {calls:,} of at most {limit:,} in this session"
        gap = "call limit: passed, nothing stopped the session"
        signals.append(_signal(row, "calls_limit", shows, gap, rows, limits, calls=calls, limit=limit))
    return signals


def _tools(rows: Rows, memory: Columns, limits: Limits) -> list[Signal]:
    if not limits.states("allowed_tools"):
        return []
    places = np.flatnonzero(rows.equals("operation", *TOOLS) & rows.equals("status", "ok"))
    if not places.size:
        return []
    is_allowed = asked(rows, places, (*AGENT, "tool_name"), lambda *call: _is_allowed(limits, *call))
    signals = []
    for row in _once(rows, places[~is_allowed], memory["said_tool"]):
        shows = f"{row['tool_name']} is not among the tools this agent may use"
        gap = f"allowed tools: {row['tool_name']} is none of them, nothing refused it"
        signals.append(_signal(row, "tool_not_allowed", shows, gap, rows, limits, tool=row["tool_name"]))
    return signals


def _is_allowed(limits: Limits, tenant: str, agent_id: str, version: str | None, tool: str | None) -> bool:
    allowed = _of_agent(limits, "allowed_tools", tenant, agent_id, version)
    return tool is None or allowed is None or is_named(tool, allowed)


def _of_agent(limits: Limits, name: str, tenant: str, agent_id: str, agent_version: str | None) -> Any:
    return limits.value(name, tenant, agent_id, agent_version=agent_version)


def _once(rows: Rows, places: Slots, said: Any) -> list[dict[str, Any]]:
    """The first of these rows of each session of which nothing was said yet; changes `said`."""
    slots, first = np.unique(rows.slots[places], return_index=True)
    first = np.sort(first[said[slots] == 0])
    said[slots] = 1
    return rows.take(places[first], ROW).rows(named=True) if first.size else []


def _signal(row: dict[str, Any], name: str, shows: str, gap: str, rows: Rows, limits: Limits, **details: Any) -> Signal:
    kind = f"governance.{name}"
    return Signal(
        signal_id=stable_hash(row["tenant"], row["session_id"], kind, row["span_id"]),
        type=kind,
        tenant=row["tenant"],
        scope=scope_of(row["target"]),
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        session_id=row["session_id"],
        root_session_id=row["root_session_id"],
        resource=row["target"],
        window_start=row["start_time"],
        window_end=row["event_time"],
        detected_at=row["pane"] + rows.pane_size,
        score=1.0,
        summary=shows,
        evidence=compact_json({"gap": gap, "references": [span_reference(row, shows)], **details}),
        rule_version=limits.rule_version,
    )
