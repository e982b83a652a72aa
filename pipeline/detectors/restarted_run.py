"""Restarted run: one delegation's agent is started again, and its runs make the same call (`feedback_loop.restarted`).

No run shows it: each makes the call a few times at most. The calls of all runs of an agent below one root session are
taken together where a run begins after the one before it has ended; runs side by side are workers of their own. Fires
at the fifth equal call in a row over at least two runs, speaks again as it grows (pipeline/core/loops.py), and once
when it is over: another call. Equal is what pipeline/core/sameness.py says, arguments that jitter by their name or that
`limits.yml` declares volatile included; what `may_poll` only looks, and may go on.

On columns: a call like the one before it in tool, target and what came of it is a suspect; Python looks at the calls of
its agent from there on. The arguments of the call before the first suspect are known as a hash only: where they differ,
it counts as equal once the call after the suspect is equal to that.
Only sessions below a root are looked at: other sessions are their own history.

memory  (tenant, root session, agent) -> 130 bytes in columns, and a streak (2 kB) for the few that repeat themselves;
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
from pipeline.core.sameness import Call, call_of, repeats
from pipeline.core.sessions import BySlot, Columns, SessionIndex, Slots
from schemas.resources import name_of
from schemas.signals import Signal
from schemas.times import format_span

REPETITIONS = 5
LEAST_RUNS = 2
CALLED = ("tenant", "agent_id", "tool_name", "target", "agent_version")  # as limits are asked for
TOOL_OPERATIONS = ("execute_tool", "retrieval", "handoff")
ROW = (
    "tenant", "session_id", "root_session_id", "agent_id", "agent_version", "operation", "tool_name", "tool_args",
    "args_digest", "result_digest", "access", "target", "status", "max_steps", "start_time", "event_time", "span_id",
    "partition", "offset", "pane",
)  # fmt: skip


@dataclass(slots=True)
class Streak:
    """Equal calls in a row: the first is needed, the others are not. It goes on at length 0 while calls are alike."""

    last: Call
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
            call=("uint64", 0),  # the last tool call, without its arguments; 0: nothing to compare with
            arguments=("uint64", 0),  # of that call
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
    if not places.size:  # approvals and decisions only
        return []
    keys = mix([rows.hashes("tenant")[places], roots[places], rows.hashes("agent_id")[places]])
    times = rows.ints("event_time")[places]
    slots = memory.index.slots(keys, times)
    order = np.lexsort((~is_counted[places], times, slots))  # a run's own span ends after its last call, or with it
    places, slots = places[order], slots[order]
    totals = _totals(rows, places, slots, is_counted[places], memory.columns)
    call, arguments = _hashes(rows, places)
    calls = np.where(is_tool[places], call, np.uint64(0))
    is_end = ~is_counted[places]
    signals = _judge(rows, places, slots, totals, calls, arguments, is_end, memory, limits)
    _learn(rows, places, slots, totals, calls, arguments, is_end, memory.columns)
    return signals


def _totals(rows: Rows, places: Slots, slots: Slots, is_counted: Any, columns: Columns) -> Any:
    """Counted calls and tokens of its agent up to and including each row."""
    own = np.stack([is_counted, *(np.where(is_counted, rows.ints(name)[places], 0) for name in TOKENS)], axis=1)
    sums = np.cumsum(own.astype(np.int64), axis=0)
    starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    base = columns["totals"][slots[starts]] - sums[starts] + own[starts]
    return sums + np.repeat(base, np.diff(np.concatenate([starts, [slots.size]])), axis=0)


def _hashes(rows: Rows, places: Slots) -> tuple[Any, Any]:
    """What was called and what came of it, 0 where the arguments are not known; and the arguments.

    Where no result is known the arguments are part of the first: then only equal calls are alike.
    """
    digest, text = rows.hashes("args_digest")[places], rows.hashes("tool_args")[places]
    arguments = np.where(digest != 0, digest, text)
    is_error = ~rows.equals("status", "ok")[places]
    result = rows.hashes("result_digest")[places]
    came = np.where(is_error, np.uint64(1), np.where(result != 0, result, arguments))
    call = mix([rows.hashes("tool_name")[places], rows.hashes("target")[places], came])
    return np.where(arguments != 0, call, np.uint64(0)), arguments


def _learn(
    rows: Rows, rows_at: Slots, slots: Slots, totals: Any, calls: Any, arguments: Any, is_end: Any, columns: Columns
) -> None:
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
    columns["arguments"][owners[has]] = arguments[at]
    columns["session"][owners[has]] = sessions[at]
    columns["end"][owners[has]] = rows.ints("event_time")[rows_at[at]]
    columns["at_last_call"][owners[has]] = totals[at]
    last_end = np.maximum.accumulate(np.where(is_end, places, -1))[ends]
    has = last_end >= starts
    columns["ended"][owners[has]] = sessions[last_end[has]]


@dataclass(slots=True)
class Last:
    """The last call of an agent as it stands at a row: hashes of it, its session, its end, and the totals then."""

    call: int
    arguments: int
    session: int
    end: int
    totals: Totals
    ended: int  # the session that ended last


def _judge(
    rows: Rows,
    places: Slots,
    slots: Slots,
    totals: Any,
    calls: Any,
    arguments: Any,
    is_end: Any,
    memory: Memory,
    limits: Limits,
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
    state: dict[int, Last] = {}
    signals = []
    for at, row in zip(wanted.tolist(), rows.take(places[wanted], ROW).rows(named=True), strict=True):
        slot, session = int(slots[at]), int(sessions[at])
        last = state[slot] = state.get(slot) or _remembered(memory.columns, slot)
        if is_end[at]:
            last.ended = session
            continue
        now, call = Totals(*totals[at].tolist()), int(calls[at])
        is_same_turn = session == last.session and row["start_time"] < last.end
        is_alike = call == last.call and (session == last.session or last.session == last.ended)
        streak: Streak | None = memory.streaks.get(slot)
        if is_alike and is_same_turn and int(arguments[at]) == last.arguments:
            pass  # equal calls side by side in one turn count once
        elif not is_alike:
            memory.streaks.pop(slot, None)
            signals += _over(streak, row, rows.pane_size, limits)
        else:
            detail = _detail(row, limits)
            if streak is None or repeats(detail, streak.last, None) is None:
                signals += _over(streak, row, rows.pane_size, limits)
                tool = row["tool_name"] or "a tool without a name"
                is_first_pair = streak is None
                streak = Streak(detail, last.totals, now, row["start_time"], row["span_id"], tool, row["target"])
                memory.streaks[slot] = streak
                if not is_first_pair:  # the call before it is known, and was another
                    streak.needed = now
                    state[slot] = Last(call, int(arguments[at]), session, row["event_time"], now, last.ended)
                    continue
            streak.last = detail
            signals += _extend(streak, row, now, session != last.session, rows.pane_size, limits)
        state[slot] = Last(call, int(arguments[at]), session, row["event_time"], now, last.ended)
    return signals


def _remembered(columns: Columns, slot: int) -> Last:
    return Last(
        int(columns["call"][slot]),
        int(columns["arguments"][slot]),
        int(columns["session"][slot]),
        int(columns["end"][slot]),
        Totals(*columns["at_last_call"][slot].tolist()),
        int(columns["ended"][slot]),
    )


def _detail(row: dict[str, Any], limits: Limits) -> Call:
    return call_of(row, limits.value("volatile_arguments", *(row[name] for name in CALLED)) or ())


def _over(streak: Streak | None, row: dict[str, Any], pane_size: int, limits: Limits) -> list[Signal]:
    if streak is None or not streak.said_at:
        return []
    return [_signal(row, streak, pane_size, limits, is_over=True)]


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
    if repetitions < REPETITIONS or streak.runs < LEAST_RUNS or _may_poll(streak.last, row, limits):
        return []
    if not is_news(row["event_time"], repetitions, streak.said_at, streak.said_repetitions):
        return []
    streak.said_at, streak.said_repetitions = row["event_time"], repetitions
    return [_signal(row, streak, pane_size, limits, is_over=False)]


def _may_poll(call: Call, row: dict[str, Any], limits: Limits) -> bool:
    only_looks = not call.is_error and not call.is_write
    return only_looks and bool(limits.value("may_poll", *(row[name] for name in CALLED)))


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
