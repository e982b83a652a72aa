"""Feedback loop: one session repeats the same calls, and nothing moves.

Four types: `feedback_loop.exact` (one call again and again), `feedback_loop.cycle` (two to eight calls in a round),
`feedback_loop.near` (an argument that does not matter changes; or ten calls in other words that name nothing new and
bring nothing new) and `feedback_loop.retry_storm` (the calls that repeat all fail, with or without back-off; or one
tool fails ten times at the same thing, however its other arguments change, and no change works between).
Sameness and progress are decided in pipeline/core/sameness.py: a poll whose answer changes, pagination or a batch is
not a loop. A poll that only looks and says how long it waits may go on for 30 rounds, one that `limits.yml` declares
(`may_poll`) for ever. Else it fires at the end of the fifth equal call or whole cycle; the same write ten times with
nothing between fires whatever it answers, and so does one thing that is written one way and the other in turn, five
times each. Speaks again after 30 s of event time or when the repetitions have grown by
a tenth, and once when it is over (a new call, or the end of the session).

Two steps. On columns: of every session the last eight calls are remembered as hashes of tool, target, status and
result; a call that equals one of them is a suspect, and so is a write with the arguments of the call right before it.
Call by call: from its first suspect on a session is watched (watch.py), until nothing repeats any more. Most healthy
sessions are never watched, and cost no Python.

Each signal carries the waste ledger: calls needed (up to and including the first occurrence of what is then repeated),
redundant calls, and the tokens of the redundant calls by class. Calls are model calls, tool calls, retrievals and
hand-offs; an `invoke_agent` span sums its children and is not counted.

memory  about 480 bytes a live session, and a watch (20 to 30 kB) for the few that repeat themselves
"""

from typing import Any

import numpy as np

from pipeline.core.limits import Limits
from pipeline.core.loops import TOKENS, Totals
from pipeline.core.panes import mix
from pipeline.core.rows import Rows
from pipeline.core.runs import Earlier
from pipeline.core.sameness import canonical_hash
from pipeline.core.sessions import BySlot, Columns, SessionIndex, Slots
from pipeline.core.span_ids import SpanIds
from pipeline.core.watch import LONGEST_PERIOD, Watch
from schemas.signals import Signal

TOOL_OPERATIONS = ("execute_tool", "retrieval", "handoff")
ROW = (
    "tenant", "session_id", "root_session_id", "agent_id", "agent_version", "operation", "tool_name", "tool_args",
    "args_digest", "result_digest", "status", "access", "target", "start_time", "event_time", "parent_span_id",
    "span_id", "max_steps", "partition", "offset", "pane",
)  # fmt: skip
CALLED = ("tenant", "agent_id", "tool_name", "target", "agent_version")  # as limits are asked for
NONE = np.uint64(0)
WRITING = ("write", "destructive", "provision")


class Memory:
    """What is remembered of every live session of a partition."""

    def __init__(self, index: SessionIndex) -> None:
        self.columns = Columns(
            call=("uint64", LONGEST_PERIOD),  # what was called and what came of it; 0: nothing to compare with
            arguments=("uint64", LONGEST_PERIOD),
            start=("int64", LONGEST_PERIOD),
            end=("int64", LONGEST_PERIOD),
            offset=("int64", LONGEST_PERIOD),
            span=("uint64", LONGEST_PERIOD),
            parent=("uint64", 0),  # of the last call
            totals=("int64", 5),  # counted calls and tokens of the session
            at_last_call=("int64", 5),  # the same at the end of its last tool call
            wasted=("int64", 0),  # calls wasted by loops that are over
        )
        self.watches: BySlot = BySlot()  # slot -> Watch
        self.index = index
        index.spans.kept_in(lambda: self.columns["span"])
        index.attach(self.columns)
        index.attach(self.watches)


def fresh(index: SessionIndex) -> Memory:
    """An empty memory."""
    return Memory(index)


def detect(rows: Rows, memory: Memory, limits: Limits) -> list[Signal]:
    """Judge every tool call of these panes; changes `memory`."""
    if not len(rows):
        return []
    columns = memory.columns
    order = np.argsort(rows.slots, kind="stable")
    slots = rows.slots[order]
    is_tool = rows.equals("operation", *TOOL_OPERATIONS)
    totals = _totals(rows, order, slots, is_tool | rows.equals("operation", "chat"), columns)
    places = np.flatnonzero(is_tool[order])
    signals: list[Signal] = []
    if places.size:
        signals += _judge_calls(rows, order[places], totals[places], memory, limits)
    signals += _end_the_rest(rows, order[places], memory, limits)
    last = np.flatnonzero(np.concatenate([slots[1:] != slots[:-1], [True]]))
    columns["totals"][slots[last]] = totals[last]
    return signals


def _totals(rows: Rows, order: Slots, slots: Slots, is_counted: Any, columns: Columns) -> Any:
    """Counted calls and tokens of its session up to and including each row, in the order of sessions."""
    own = np.stack([is_counted, *(np.where(is_counted, rows.ints(name), 0) for name in TOKENS)], axis=1)
    own = own.astype(np.int64)[order]
    sums = np.cumsum(own, axis=0)
    starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    base = columns["totals"][slots[starts]] - sums[starts] + own[starts]
    return sums + np.repeat(base, np.diff(np.concatenate([starts, [slots.size]])), axis=0)


def _hashes(rows: Rows, calls: Slots, limits: Limits) -> tuple[Any, Any]:
    """For each call: the hash of what was called and what came of it, and that of its arguments.

    Where no result is known the arguments, in canonical form and without those declared volatile, are part of the
    first: then only equal calls are alike.
    """
    is_error = ~rows.equals("status", "ok")[calls]
    result = rows.hashes("result_digest")[calls]
    digest = rows.hashes("args_digest")[calls]
    text = rows.hashes("tool_args")[calls]
    arguments = np.where(digest != NONE, digest, text)
    unknown = np.flatnonzero((result == NONE) & ~is_error & (text != NONE))
    if unknown.size:
        asked = rows.take(calls[unknown], ("tool_args", *CALLED)).rows()
        arguments[unknown] = [
            canonical_hash(given, limits.value("volatile_arguments", *call) or ()) for given, *call in asked
        ]
    came = np.where(is_error, np.uint64(1), np.where(result != NONE, result, arguments))
    call = mix([rows.hashes("tool_name")[calls], rows.hashes("target")[calls], came])
    return np.where((arguments != NONE) & (call != NONE), call, NONE), arguments


def _judge_calls(rows: Rows, calls: Slots, totals: Any, memory: Memory, limits: Limits) -> list[Signal]:
    columns = memory.columns
    slots = rows.slots[calls]
    starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    lengths = np.diff(np.concatenate([starts, [slots.size]]))
    owners = slots[starts]
    number = np.repeat(np.arange(starts.size), lengths)
    new = np.arange(calls.size) + LONGEST_PERIOD * (number + 1)  # places among remembered and new calls
    old = (starts + LONGEST_PERIOD * np.arange(starts.size))[:, None] + np.arange(LONGEST_PERIOD)
    call, arguments = _hashes(rows, calls, limits)
    own: dict[str, Any] = {
        "call": call,
        "arguments": arguments,
        "start": rows.ints("start_time")[calls],
        "end": rows.ints("event_time")[calls],
        "offset": rows.ints("offset")[calls],
        "span": rows.spans[calls],
    }
    both = {}
    for name, values in own.items():
        both[name] = np.zeros(calls.size + LONGEST_PERIOD * starts.size, dtype=values.dtype)
        both[name][new] = values
        both[name][old] = columns[name][owners]
    is_suspect = ((both["call"][new[:, None] - np.arange(1, LONGEST_PERIOD + 1)] == call[:, None]).any(axis=1)) & (
        call != NONE
    )
    is_write = rows.equals("access", *WRITING)[calls]
    is_suspect |= is_write & (both["arguments"][new - 1] == arguments) & (arguments != NONE)
    parents = rows.hashes("parent_span_id")[calls]
    last = starts + lengths - 1
    before = {
        int(slot): columns["at_last_call"][slot].copy()
        for slot in owners[np.logical_or.reduceat(is_suspect, starts)].tolist()
    }
    parent_before = columns["parent"][owners].copy()
    active = np.flatnonzero(
        np.logical_or.reduceat(is_suspect, starts)
        | np.isin(owners, np.fromiter(memory.watches, np.int64, len(memory.watches)))
    )
    signals: list[Signal] = []
    if active.size:
        chosen = np.concatenate([np.arange(starts[at], starts[at] + lengths[at]) for at in active.tolist()])
        content = dict(zip(chosen.tolist(), rows.take(calls[chosen], ROW).rows(named=True), strict=True))
        ends = _ends(rows, owners[active])
        for at in active.tolist():
            slot = int(owners[at])
            watch: Watch | None = memory.watches.get(slot)
            first = int(starts[at])
            for place in range(first, first + int(lengths[at])):
                waiting = ends.get(slot)
                while waiting and waiting[0] < calls[place]:
                    signals += _end(watch, [waiting.pop(0)], rows, memory, slot, limits)
                if watch is None:
                    if not is_suspect[place]:
                        continue
                    parent = int(parent_before[at])
                    watch = _begin(place, first, new, both, totals, before[slot], parent, parents, memory.index.spans)
                signals += watch.judge(
                    content[place],
                    int(call[place]),
                    int(arguments[place]),
                    Totals(*totals[place].tolist()),
                    rows.pane_size,
                    limits,
                    int(parents[place]),
                    memory.columns["wasted"],
                    slot,
                )
                if watch.is_idle:
                    watch = None
            if watch is None:
                memory.watches.pop(slot, None)
            else:
                memory.watches[slot] = watch
    kept = (new[last])[:, None] - np.arange(LONGEST_PERIOD - 1, -1, -1)
    for name, values in both.items():
        columns[name][owners] = values[kept]
    columns["parent"][owners] = parents[last]
    columns["at_last_call"][owners] = totals[last]
    return signals


def _begin(
    place: int,
    first: int,
    new: Slots,
    both: dict[str, Any],
    totals: Any,
    before: Any,
    parent: int,
    parents: Any,
    spans: SpanIds,
) -> Watch:
    """A watch that begins with this call: the eight before it are known by their hashes only."""
    earlier = [
        Earlier(
            call=int(both["call"][at]),
            arguments=int(both["arguments"][at]),
            start=int(both["start"][at]),
            end=int(both["end"][at]),
            offset=int(both["offset"][at]),
            span_id=spans.text(int(both["span"][at])) or "",
        )
        for at in range(int(new[place]) - LONGEST_PERIOD, int(new[place]))
    ]
    known = totals[place - 1] if place > first else before
    return Watch.begun(earlier, Totals(*known.tolist()), int(parents[place - 1]) if place > first else parent)


def _ends(rows: Rows, owners: Slots) -> dict[int, list[int]]:
    """Rows at which one of these sessions ends, in order, by slot."""
    found: dict[int, list[int]] = {}
    is_end = rows.equals("operation", "invoke_agent") & np.isin(rows.slots, owners)
    for place in np.flatnonzero(is_end).tolist():
        found.setdefault(int(rows.slots[place]), []).append(place)
    return found


def _end_the_rest(rows: Rows, calls: Slots, memory: Memory, limits: Limits) -> list[Signal]:
    """Watched sessions that end after their last call in these rows, or have no call here."""
    if not memory.watches:
        return []
    watched = np.fromiter(memory.watches, np.int64, len(memory.watches))
    signals: list[Signal] = []
    for slot, waiting in _ends(rows, watched).items():
        own = calls[rows.slots[calls] == slot]
        after = [place for place in waiting if not own.size or place > own[-1]]
        signals += _end(memory.watches[slot], after, rows, memory, slot, limits)
    return signals


def _end(
    watch: Watch | None, waiting: list[int], rows: Rows, memory: Memory, slot: int, limits: Limits
) -> list[Signal]:
    if watch is None or not waiting:
        return []
    row = rows.take(np.array(waiting[:1]), ROW).row(0, named=True)
    return watch.end(row, rows.pane_size, limits, memory.columns["wasted"], slot)
