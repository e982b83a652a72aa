"""Monologue: the model says the same again and again, and no tool is called between (`feedback_loop.no_tool`).

The same is an equal digest of the output, while the context stays as long as it was or grows: answers to many short
questions that happen to be equal (a classifier) have contexts that shrink as well. Fires at the fifth equal output,
speaks again as it grows (pipeline/core/loops.py), and once when it is over: another output, a tool call, or the end of
the session.

On columns: a model call whose digest equals that of the call before it, with no tool call between, is a suspect. From
the first suspect on, Python looks at the calls of that session until the monologue is over.

memory  24 bytes a live session, and a monologue (under 1 kB) for the few that repeat themselves
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.loops import TOKENS, Found, Totals, is_news, signal_of
from pipeline.core.rows import Rows
from pipeline.core.sessions import BySlot, Columns, SessionIndex
from schemas.signals import Signal
from schemas.times import format_span

REPETITIONS = 5
TOOL_OPERATIONS = ("execute_tool", "retrieval", "handoff")
ROW = (
    "tenant", "session_id", "root_session_id", "agent_id", "agent_version", "operation", "max_steps", "start_time",
    "event_time", "span_id", "target", "context_tokens", "partition", "offset", "pane", *TOKENS,
)  # fmt: skip


@dataclass(slots=True)
class Monologue:
    """Equal outputs so far: the first is needed, the others are not."""

    needed_calls: int  # of the session, with the first of the equal outputs
    first_id: str  # span of the second
    started: int
    ended: int
    length: int = 0
    spent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOKENS, 0))
    references: list[dict[str, Any]] = field(default_factory=list)
    said_at: int = 0
    said_repetitions: int = 0

    @property
    def repetitions(self) -> int:
        """Equal outputs."""
        return self.length + 1


class Memory:
    """What is remembered of every live session of a partition."""

    def __init__(self, index: SessionIndex) -> None:
        self.columns = Columns(said=("uint64", 0), context=("int64", 0), calls=("int64", 0))  # said 0: nothing to equal
        self.monologues = BySlot()  # slot -> Monologue
        index.attach(self.columns)
        index.attach(self.monologues)


def fresh(index: SessionIndex) -> Memory:
    """An empty memory."""
    return Memory(index)


def detect(rows: Rows, memory: Memory, limits: Limits) -> list[Signal]:
    """Judge every model call of these panes; changes `memory`."""
    is_chat = rows.equals("operation", "chat")
    is_call = is_chat | rows.equals("operation", *TOOL_OPERATIONS)
    places = np.flatnonzero(is_call | rows.equals("operation", "invoke_agent"))
    if not places.size:
        return []
    places = places[np.argsort(rows.slots[places], kind="stable")]
    slots, counted = rows.slots[places], is_call[places].astype(np.int64)
    starts = np.concatenate([[True], slots[1:] != slots[:-1]])
    said = np.where(is_chat[places], rows.hashes("result_digest")[places], np.uint64(0))
    context = rows.ints("context_tokens")[places]
    columns = memory.columns
    before = np.where(starts, columns["said"][slots], np.concatenate([said[:1], said[:-1]]))
    context_before = np.where(starts, columns["context"][slots], np.concatenate([context[:1], context[:-1]]))
    is_suspect = (said != 0) & (said == before) & ((context < 0) | (context >= context_before))
    sums = np.cumsum(counted)
    first = np.flatnonzero(starts)
    own = np.diff(np.concatenate([first, [slots.size]]))
    calls = sums + np.repeat(columns["calls"][slots[first]] - sums[first] + counted[first], own)
    last = np.concatenate([first[1:], [slots.size]]) - 1
    signals = []
    open_before = np.fromiter(memory.monologues, np.int64, len(memory.monologues))
    busy = np.union1d(slots[is_suspect], open_before)
    if busy.size:
        wanted = np.flatnonzero(np.isin(slots, busy))
        content = rows.take(places[wanted], ROW).rows(named=True)
        for at, row in zip(wanted.tolist(), content, strict=True):
            signals += _judge(row, int(slots[at]), bool(is_suspect[at]), int(calls[at]), rows.pane_size, memory, limits)
    columns["said"][slots[last]] = said[last]
    columns["context"][slots[last]] = context[last]
    columns["calls"][slots[last]] = calls[last]
    return signals


def _judge(
    row: dict[str, Any], slot: int, is_suspect: bool, calls: int, pane_size: int, memory: Memory, limits: Limits
) -> list[Signal]:
    """One call, or the end, of a session that repeats itself."""
    now: Monologue | None = memory.monologues.get(slot)
    if not is_suspect:
        memory.monologues.pop(slot, None)
        return [_signal(row, now, pane_size, limits, is_over=True)] if now is not None and now.said_at else []
    if now is None:
        now = memory.monologues[slot] = Monologue(calls - 1, row["span_id"], row["start_time"], row["event_time"])
    now.length += 1
    now.ended = row["event_time"]
    for name in TOKENS:
        now.spent[name] += row[name]
    shows = f"the same output for the {now.repetitions}th time, {row['output_tokens']} tokens"
    now.references = [*now.references[:1], span_reference(row, shows)]
    if now.repetitions < REPETITIONS or not is_news(
        row["event_time"], now.repetitions, now.said_at, now.said_repetitions
    ):
        return []
    now.said_at, now.said_repetitions = row["event_time"], now.repetitions
    return [_signal(row, now, pane_size, limits, is_over=False)]


def _signal(row: dict[str, Any], now: Monologue, pane_size: int, limits: Limits, *, is_over: bool) -> Signal:
    lasted = format_span(now.ended - now.started)
    found = Found(
        kind="no_tool",
        first_id=now.first_id,
        started=now.started,
        ended=now.ended,
        length=now.length,
        period=1,
        repetitions=now.repetitions,
        tools=["the same output"],
        target=None,
        says=f"the model said the same {now.repetitions} times in {lasted} and called no tool",
        needed=Totals(now.needed_calls),
        totals=Totals(now.needed_calls + now.length, **now.spent),
        wasted=0,
        wall_time=now.ended - now.started,
        references=now.references,
        is_over=is_over,
    )
    return signal_of(row, found, pane_size, limits)
