"""Restarted run: one delegation's agent is started again, and its runs make the same call (`feedback_loop.restarted`).

No run shows it: each makes the call a few times at most. The calls of all runs of an agent below one root session are
taken together where a run begins after the one before it has ended; runs side by side are workers of their own. Fires
at the fifth equal call in a row (tool, target, arguments and what came of it) over at least two runs, speaks again as
it grows (pipeline/core/loops.py), and once when it is over: another call.

On columns: a call that equals the one before it is a suspect; Python looks at the calls of its agent from there on.
Only sessions below a root are looked at: other sessions are their own history.

memory  (tenant, root session, agent) -> 120 bytes in columns, and a streak (1 kB) for the few that repeat themselves;
        leaves after 6 h of silence
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.loops import TOKENS, Found, Totals, is_news, signal_of
from pipeline.core.panes import mix
from pipeline.core.rows import Rows
from pipeline.core.sessions import BySlot, Columns, SessionIndex, Slots
from schemas.resources import name_of
from schemas.signals import Signal
from schemas.times import format_span

REPETITIONS = 5
LEAST_RUNS = 2
TOOL_OPERATIONS = ("execute_tool", "retrieval", "handoff")
ROW = (
    "tenant", "session_id", "root_session_id", "agent_id", "agent_version", "operation", "tool_name", "target",
    "status", "max_steps", "start_time", "event_time", "span_id", "partition", "offset", "pane",
)  # fmt: skip


@dataclass(slots=True)
class Streak:
    """Equal calls in a row: the first is needed, the others are not."""

    needed: Totals
    totals: Totals
    started: int
    first_id: str  # span of the second call
    tool: str
    target: str | None
    ended: int = 0
    length: int = 0
    runs: int = 1
    errors: int = 0
    references: list[dict[str, Any]] = field(default_factory=list)
    said_at: int = 0
    said_repetitions: int = 0


class Memory:
    """What is remembered of every agent below a root session."""

    def __init__(self) -> None:
        self.index = SessionIndex()
        self.columns = Columns(
            call=("uint64", 0),  # the last tool call; 0: nothing to compare with
            session=("uint64", 0),  # that made it
            end=("int64", 0),  # of that call
            ended=("uint64", 0),  # the session that ended last
            totals=("int64", 5),
            at_last_call=("int64", 5),
        )
        self.streaks = BySlot()  # slot -> Streak
        self.index.attach(self.columns)
        self.index.attach(self.streaks)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def keep(self) -> int:
        """How long a silent agent is remembered."""
        return self.index.keep

    def saved(self) -> Any:
        """All of it, for a snapshot."""
        return self.index.saved()

    def restore(self, saved: Any) -> None:
        """The other way."""
        self.index.restore(saved)

    def expire(self, at: int) -> None:
        """Forget agents that are silent for long."""
        self.index.expire(at)


def fresh(_: SessionIndex | None = None) -> Memory:
    """An empty memory."""
    return Memory()


def detect(rows: Rows, memory: Memory, limits: Limits) -> list[Signal]:
    """Judge every call below a root session; changes `memory`."""
    roots = rows.hashes("root_session_id")
    is_below = (roots != 0) & (roots != rows.hashes("session_id"))
    if not is_below.any():
        return []
    is_tool = rows.equals("operation", *TOOL_OPERATIONS)
    is_counted = is_tool | rows.equals("operation", "chat")
    places = np.flatnonzero(is_below & (is_counted | rows.equals("operation", "invoke_agent")))
    keys = mix([rows.hashes("tenant")[places], roots[places], rows.hashes("agent_id")[places]])
    times = rows.ints("event_time")[places]
    slots = memory.index.slots(keys, times)
    order = np.lexsort((~is_counted[places], times, slots))  # a run's own span ends after its last call, or with it
    places, slots = places[order], slots[order]
    totals = _totals(rows, places, slots, is_counted[places], memory.columns)
    calls = np.where(is_tool[places], _hashes(rows, places), np.uint64(0))
    is_end = ~is_counted[places]
    signals = _judge(rows, places, slots, totals, calls, is_end, memory, limits)
    _learn(rows, places, slots, totals, calls, is_end, memory.columns)
    return signals


def _totals(rows: Rows, places: Slots, slots: Slots, is_counted: Any, columns: Columns) -> Any:
    """Counted calls and tokens of its agent up to and including each row."""
    own = np.stack([is_counted, *(np.where(is_counted, rows.ints(name)[places], 0) for name in TOKENS)], axis=1)
    sums = np.cumsum(own.astype(np.int64), axis=0)
    starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    base = columns["totals"][slots[starts]] - sums[starts] + own[starts]
    return sums + np.repeat(base, np.diff(np.concatenate([starts, [slots.size]])), axis=0)


def _hashes(rows: Rows, places: Slots) -> Any:
    """What was called and what came of it; 0 where the arguments are not known."""
    digest, text = rows.hashes("args_digest")[places], rows.hashes("tool_args")[places]
    arguments = np.where(digest != 0, digest, text)
    is_error = ~rows.equals("status", "ok")[places]
    came = np.where(is_error, np.uint64(1), rows.hashes("result_digest")[places])
    call = mix([rows.hashes("tool_name")[places], rows.hashes("target")[places], arguments, came])
    return np.where(arguments != 0, call, np.uint64(0))


def _learn(rows: Rows, rows_at: Slots, slots: Slots, totals: Any, calls: Any, is_end: Any, columns: Columns) -> None:
    """The last call of each agent, and the last of its runs that has ended."""
    sessions = rows.hashes("session_id")[rows_at]
    places = np.arange(slots.size)
    starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    ends = np.concatenate([starts[1:], [slots.size]]) - 1
    last_call = np.maximum.accumulate(np.where(calls != 0, places, -1))[ends]
    has = last_call >= starts
    owners, at = slots[ends], last_call[has]
    columns["totals"][owners] = totals[ends]
    columns["call"][owners[has]] = calls[at]
    columns["session"][owners[has]] = sessions[at]
    columns["end"][owners[has]] = rows.ints("event_time")[rows_at[at]]
    columns["at_last_call"][owners[has]] = totals[at]
    last_end = np.maximum.accumulate(np.where(is_end, places, -1))[ends]
    has = last_end >= starts
    columns["ended"][owners[has]] = sessions[last_end[has]]


def _judge(
    rows: Rows, places: Slots, slots: Slots, totals: Any, calls: Any, is_end: Any, memory: Memory, limits: Limits
) -> list[Signal]:
    """Agents that repeat themselves, row by row."""
    tools = np.flatnonzero(calls)
    own = slots[tools]
    is_first = np.concatenate([[True], own[1:] != own[:-1]])[: tools.size]
    before = np.where(is_first, memory.columns["call"][own], np.concatenate([calls[tools[:1]], calls[tools[:-1]]]))
    busy = np.union1d(own[calls[tools] == before], np.fromiter(memory.streaks, np.int64, len(memory.streaks)))
    wanted = np.flatnonzero(np.isin(slots, busy) & ((calls != 0) | is_end))
    if not wanted.size:
        return []
    sessions = rows.hashes("session_id")[places]
    state: dict[int, list[Any]] = {}
    signals = []
    for at, row in zip(wanted.tolist(), rows.take(places[wanted], ROW).rows(named=True), strict=True):
        slot = int(slots[at])
        last = state.get(slot)
        if last is None:
            columns = memory.columns
            last = state[slot] = [
                int(columns["call"][slot]), int(columns["session"][slot]), int(columns["ended"][slot]),
                Totals(*columns["at_last_call"][slot].tolist()), int(columns["end"][slot]),
            ]  # fmt: skip
        session = int(sessions[at])
        if is_end[at]:
            last[2] = session
            continue
        now, call = Totals(*totals[at].tolist()), int(calls[at])
        is_same_turn = session == last[1] and row["start_time"] < last[4]
        is_again = call == last[0] and (session == last[1] or last[1] == last[2])
        streak: Streak | None = memory.streaks.get(slot)
        if is_again and is_same_turn:
            pass  # equal calls side by side in one turn count once
        elif not is_again:
            memory.streaks.pop(slot, None)
            if streak is not None and streak.said_at:
                signals.append(_signal(row, streak, rows.pane_size, limits, is_over=True))
        else:
            if streak is None:
                tool = row["tool_name"] or "a tool without a name"
                streak = Streak(last[3], now, row["start_time"], row["span_id"], tool, row["target"])
                memory.streaks[slot] = streak
            signals += _extend(streak, row, now, session != last[1], rows.pane_size, limits)
        state[slot] = [call, session, last[2], now, row["event_time"]]
    return signals


def _extend(
    streak: Streak, row: dict[str, Any], now: Totals, is_new_run: bool, pane_size: int, limits: Limits
) -> list[Signal]:
    streak.length += 1
    streak.runs += is_new_run
    streak.errors += row["status"] != "ok"
    streak.totals, streak.ended = now, row["event_time"]
    shows = f"{streak.tool} for the {streak.length + 1}th time in a row, run {streak.runs} of its agent"
    streak.references = [*streak.references[:1], span_reference(row, shows)]
    repetitions = streak.length + 1
    if repetitions < REPETITIONS or streak.runs < LEAST_RUNS:
        return []
    if not is_news(row["event_time"], repetitions, streak.said_at, streak.said_repetitions):
        return []
    streak.said_at, streak.said_repetitions = row["event_time"], repetitions
    return [_signal(row, streak, pane_size, limits, is_over=False)]


def _signal(row: dict[str, Any], streak: Streak, pane_size: int, limits: Limits, *, is_over: bool) -> Signal:
    on = f" on {name_of(streak.target)}" if streak.target else ""
    lasted = format_span(streak.ended - streak.started)
    equal = f"{streak.length + 1} equal calls of {streak.tool}{on}"
    found = Found(
        kind="restarted",
        first_id=streak.first_id,
        started=streak.started,
        ended=streak.ended,
        length=streak.length,
        period=1,
        repetitions=streak.length + 1,
        tools=[streak.tool],
        target=streak.target,
        says=f"{equal} by {streak.runs} runs of one delegation, one after the other, in {lasted}; nothing moved",
        needed=streak.needed,
        totals=streak.totals,
        wasted=0,
        wall_time=streak.ended - streak.started,
        references=streak.references,
        error_share=streak.errors / max(1, streak.length),
        is_over=is_over,
    )
    return signal_of(row, found, pane_size, limits)
