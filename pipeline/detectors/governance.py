"""Governance: a session goes past a limit that it or its operator has declared.

`governance.step_limit`: a step above `max_steps` (the span's own, or that of `limits.yml`), once a session.
`governance.approval_denied`: a call with access other than read that ran although its approval was denied.
A call whose approval was only requested is no signal of its own: it is a gap on the incident it leads to.

memory  1 byte a live session: whether its step limit was signalled
"""

from typing import Any

import numpy as np

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.rows import Rows
from pipeline.core.sessions import Columns, SessionIndex
from schemas.resources import scope_of
from schemas.signals import Signal, compact_json, stable_hash

ROW = (
    "tenant", "session_id", "root_session_id", "agent_id", "agent_version", "operation", "tool_name", "access",
    "target", "step", "max_steps", "approval", "status", "start_time", "event_time", "span_id", "partition", "offset",
    "pane",
)  # fmt: skip


def fresh(index: SessionIndex) -> Columns:
    """An empty memory."""
    memory = Columns(said_step_limit=("uint8", 0))
    index.attach(memory)
    return memory


def detect(rows: Rows, memory: Columns, limits: Limits) -> list[Signal]:
    """Judge the few rows that could break a limit; changes `memory`."""
    if not len(rows):
        return []
    steps = rows.ints("step")
    own = rows.ints("max_steps")
    suspects = (own >= 0) & (steps > own)
    if any(entry.max_steps is not None for entry in limits.limits):
        suspects |= steps >= 0
    suspects |= rows.equals("approval", "denied") & rows.equals("status", "ok") & ~rows.equals("access", "read")
    places = np.flatnonzero(suspects)
    if not places.size:
        return []
    signals = []
    found = rows.take(places, ROW).rows(named=True)
    for slot, row in zip(rows.slots[places].tolist(), found, strict=True):
        declared = limits.value("max_steps", row["tenant"], row["agent_id"])
        least = min((limit for limit in (row["max_steps"], declared) if limit is not None), default=None)
        if (
            row["step"] is not None
            and least is not None
            and row["step"] > least
            and not memory["said_step_limit"][slot]
        ):
            memory["said_step_limit"][slot] = 1
            shows = f"step {row['step']} of at most {least}"
            signals.append(_signal(row, "governance.step_limit", shows, rows.pane_size, limits))
        if row["approval"] == "denied" and row["access"] not in (None, "read") and row["status"] == "ok":
            shows = f"{row['tool_name'] or row['operation']} ran although its approval was denied"
            signals.append(_signal(row, "governance.approval_denied", shows, rows.pane_size, limits))
    return signals


def _signal(row: dict[str, Any], kind: str, shows: str, pane_size: int, limits: Limits) -> Signal:
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
        detected_at=row["pane"] + pane_size,
        score=1.0,
        summary=shows,
        evidence=compact_json(
            {"step": row["step"], "approval": row["approval"], "references": [span_reference(row, shows)]}
        ),
        rule_version=limits.rule_version,
    )
