"""Failed run: a session ended with an error, and the last tool it called had failed (`failed_run.ended`).

Wakes nobody and opens no incident: it is what pipeline/detectors/repeated_run.py, which sees all sessions of an agent,
goes by. A run that failed without a failed call says nothing of what it failed at, and is left out.

memory  8 bytes a live session, and the last call (about 500 bytes) of those whose last call failed
"""

from typing import Any

import numpy as np

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.panes import mix
from pipeline.core.rows import Rows
from pipeline.core.sessions import BySlot, Columns, SessionIndex, Slots
from schemas.resources import scope_of
from schemas.signals import Signal, compact_json, stable_hash

TOOL_OPERATIONS = ("execute_tool", "retrieval", "handoff")
Bools = np.ndarray[Any, np.dtype[np.bool_]]
CALL = ("tool_name", "target", "span_id", "event_time", "partition", "offset")
ROW = (
    "tenant", "session_id", "root_session_id", "agent_id", "agent_version", "start_time", "event_time", "span_id",
    "pane",
)  # fmt: skip


class Memory:
    """What is remembered of every live session of a partition."""

    def __init__(self, index: SessionIndex) -> None:
        self.columns = Columns(calls=("int64", 0))
        self.failed = BySlot()  # slot -> [hash of its last call, the row]
        index.attach(self.columns)
        index.attach(self.failed)


def fresh(index: SessionIndex) -> Memory:
    """An empty memory."""
    return Memory(index)


def detect(rows: Rows, memory: Memory, limits: Limits) -> list[Signal]:
    """One signal for each session that failed and ended in these panes; changes `memory`."""
    is_tool = rows.equals("operation", *TOOL_OPERATIONS)
    is_counted = is_tool | rows.equals("operation", "chat")
    is_failure = ~rows.equals("status", "ok")
    ends = rows.equals("operation", "invoke_agent") & is_failure
    signals = _judge(rows, ends, is_tool, is_counted, is_failure, memory, limits) if ends.any() else []
    _learn(rows, np.flatnonzero(is_tool), is_failure, memory)
    np.add.at(memory.columns["calls"], rows.slots[is_counted], 1)
    return signals


def _judge(
    rows: Rows, ends: Bools, is_tool: Bools, is_counted: Bools, is_failure: Bools, memory: Memory, limits: Limits
) -> list[Signal]:
    # a run's own span ends after its last call, or at the same moment
    order = np.lexsort((ends, rows.ints("event_time"), rows.slots))
    slots, places = rows.slots[order], np.arange(order.size)
    starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    segment = np.repeat(starts, np.diff(np.concatenate([starts, [slots.size]])))
    sums = np.cumsum(is_counted[order])
    calls = sums - (sums - is_counted[order])[segment] + memory.columns["calls"][slots]
    last_tool = np.maximum.accumulate(np.where(is_tool[order], places, -1))
    wanted = np.flatnonzero(ends[order])
    signals = []
    for at, row in zip(wanted.tolist(), rows.take(order[wanted], ROW).rows(named=True), strict=True):
        failed = memory.failed.get(int(slots[at]))
        if last_tool[at] >= segment[at]:
            own = order[last_tool[at] : last_tool[at] + 1]
            failed = _failed_calls(rows, own)[0] if is_failure[own[0]] else None
        if failed is not None:
            signals.append(_signal(row, failed[0], failed[1], int(calls[at]), rows.pane_size, limits))
    return signals


def _failed_calls(rows: Rows, places: Slots) -> list[list[Any]]:
    digest, text = rows.hashes("args_digest")[places], rows.hashes("tool_args")[places]
    arguments = np.where(digest != 0, digest, text)
    calls = mix([rows.hashes("tool_name")[places], rows.hashes("target")[places], arguments])
    content = rows.take(places, CALL).rows(named=True)
    return [[f"{call:016x}", row] for call, row in zip(calls.tolist(), content, strict=True)]


def _learn(rows: Rows, tools: Slots, is_failure: Bools, memory: Memory) -> None:
    """The last call of each session, where it failed."""
    if not memory.failed and not is_failure[tools].any():
        return
    _, from_the_end = np.unique(rows.slots[tools][::-1], return_index=True)
    last = tools[tools.size - 1 - from_the_end]
    for slot in rows.slots[last].tolist() if memory.failed else ():
        memory.failed.pop(slot, None)
    failed = last[is_failure[last]]
    if failed.size:
        memory.failed.update(zip(rows.slots[failed].tolist(), _failed_calls(rows, failed), strict=True))


def _signal(row: dict[str, Any], call: str, last: dict[str, Any], calls: int, pane_size: int, limits: Limits) -> Signal:
    tool = last["tool_name"] or "a tool"
    shows = f"the run ended with an error after {tool} had failed"
    return Signal(
        signal_id=stable_hash(row["tenant"], row["session_id"], "failed_run.ended", row["span_id"]),
        type="failed_run.ended",
        tenant=row["tenant"],
        scope=scope_of(last["target"]),
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        session_id=row["session_id"],
        root_session_id=row["root_session_id"],
        resource=last["target"],
        window_start=row["start_time"],
        window_end=row["event_time"],
        detected_at=row["pane"] + pane_size,
        score=1.0,
        severity="info",
        summary=shows,
        evidence=compact_json(
            {"call": call, "tool": tool, "calls": calls, "references": [span_reference(last, shows)]}
        ),
        rule_version=limits.rule_version,
    )
