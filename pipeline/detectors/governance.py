"""Governance: a session goes past a limit that it or its operator has declared.

`governance.step_limit`: a step above `max_steps` (the span's own, or that of `limits.yml`), once a session.
`governance.approval_denied`: a call with access other than read that ran although its approval was denied.
A call whose approval was only requested is no signal of its own: it is a gap on the incident it leads to.

rows    AgentSpan rows of closed panes, ordered, with `pane`
memory  (tenant, session) -> whether its step limit was signalled; leaves after 24 h of silence
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from schemas.resources import scope_of
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MINUTE

KEEP = 24 * 60 * MINUTE


@dataclass(slots=True)
class Said:
    """What was said of a session."""

    step_limit: bool = False


def fresh() -> Memory[tuple[str, str], Said]:
    """An empty memory."""
    return Memory(Said, KEEP)


def detect(rows: pl.DataFrame, pane_size: int, memory: Memory[tuple[str, str], Said], limits: Limits) -> list[Signal]:
    """Judge the few rows that could break a limit; changes `memory`."""
    has_step_limit = any(entry.max_steps is not None for entry in limits.limits)
    above = pl.col("step") > pl.col("max_steps")
    denied = (pl.col("approval") == "denied") & (pl.col("access") != "read") & (pl.col("status") == "ok")
    suspects = rows.filter(above | denied | (pl.lit(has_step_limit) & pl.col("step").is_not_null()))
    signals = []
    for row in suspects.iter_rows(named=True):
        session = memory.get((row["tenant"], row["session_id"]), row["event_time"])
        declared = limits.value("max_steps", row["tenant"], row["agent_id"])
        least = min((limit for limit in (row["max_steps"], declared) if limit is not None), default=None)
        if row["step"] is not None and least is not None and row["step"] > least and not session.step_limit:
            session.step_limit = True
            shows = f"step {row['step']} of at most {least}"
            signals.append(_signal(row, "governance.step_limit", shows, pane_size, limits))
        if row["approval"] == "denied" and row["access"] not in (None, "read") and row["status"] == "ok":
            shows = f"{row['tool_name'] or row['operation']} ran although its approval was denied"
            signals.append(_signal(row, "governance.approval_denied", shows, pane_size, limits))
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
