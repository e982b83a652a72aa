"""Feedback loop: one session repeats the same calls, and nothing moves.

Two types: `feedback_loop.exact` (one call again and again) and `feedback_loop.cycle` (two to eight calls in a round).
Sameness and progress are decided in pipeline/core/sameness.py: a poll whose answer changes, pagination or a batch is
not a loop. Fires at the end of the fifth equal call, or of the fifth whole cycle; speaks again at most every 30 s of
event time while the loop goes on, and once when it is over (a call that is new, or the end of the session).

Each signal carries the waste ledger: calls needed (up to and including the first occurrence of what is then repeated),
redundant calls, and the tokens of the redundant calls by class. Calls are model calls, tool calls, retrievals and
hand-offs; an `invoke_agent` span sums its children and is not counted.

rows    AgentSpan rows of closed panes, ordered, with `pane`
memory  (tenant, session) -> Session: the last 8 calls, one run a period, totals; about 2 kB; kept 6 h
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from pipeline.core.sameness import Call, arguments_of, repeats
from schemas.resources import name_of, scope_of
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MICROS, MINUTE, format_span

LONGEST_PERIOD = 8
REPETITIONS = 5
SAY_AGAIN = 30 * MICROS
KEEP = 6 * 60 * MINUTE
TOOL_OPERATIONS = ("execute_tool", "retrieval", "handoff")
COUNTED = ("chat", *TOOL_OPERATIONS)
TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
SESSION = ("tenant", "session_id")


@dataclass(slots=True)
class Totals:
    """Counted calls and tokens of a session up to and including one call."""

    calls: int = 0
    tokens: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(slots=True)
class Seen:
    """A call remembered: what it was, where it stands, and the session's totals at its end."""

    call: Call
    reference: dict[str, Any]
    totals: Totals
    start: int
    end: int
    parent: str | None


@dataclass(slots=True)
class Run:
    """How long every call has equalled the one `period` before it."""

    length: int = 0
    first: list[Seen] = field(default_factory=list)  # the first cycle
    jitter: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Loop:
    """A loop that was signalled and is not over."""

    period: int
    first: list[Seen]
    length: int
    jitter: set[str]
    last: Seen
    errors: int
    said_at: int = 0


@dataclass(slots=True)
class Session:
    """What is remembered of one session."""

    totals: Totals = field(default_factory=Totals)
    calls: deque[Seen] = field(default_factory=lambda: deque(maxlen=LONGEST_PERIOD))
    runs: list[Run] = field(default_factory=lambda: [Run() for _ in range(LONGEST_PERIOD)])
    loop: Loop | None = None
    wasted_calls: int = 0  # by loops that are over


def fresh() -> Memory[tuple[str, str], Session]:
    """An empty memory."""
    return Memory(Session, KEEP)


def detect(
    rows: pl.DataFrame, pane_size: int, memory: Memory[tuple[str, str], Session], limits: Limits
) -> list[Signal]:
    """Judge every tool call of these panes; changes `memory`. Pure otherwise."""
    is_call = pl.col("operation").is_in(COUNTED)
    rows = rows.with_columns(
        calls_so_far=is_call.cast(pl.Int64).cum_sum().over(SESSION),
        **{f"{name}_so_far": pl.when(is_call).then(name).otherwise(0).cum_sum().over(SESSION) for name in TOKENS},
    )
    signals: list[Signal] = []
    for row in rows.filter(pl.col("operation").is_in((*TOOL_OPERATIONS, "invoke_agent"))).iter_rows(named=True):
        session = memory.get((row["tenant"], row["session_id"]), row["event_time"])
        if row["operation"] == "invoke_agent":
            signals += _end(row, session, pane_size, limits)
        else:
            signals += _judge(row, session, pane_size, limits)
    sums = [pl.col(f"{name}_so_far").last() for name in ("calls", *TOKENS)]
    by_session = rows.group_by(SESSION, maintain_order=True).agg(pl.col("event_time").last(), *sums)
    for tenant, name, at, calls, *tokens in by_session.iter_rows():
        session = memory.get((tenant, name), at)
        session.totals = _plus(session.totals, calls, tokens)
    return signals


def _plus(totals: Totals, calls: int, tokens: list[int]) -> Totals:
    one, two, three, four = (a + b for a, b in zip(totals.tokens, tokens, strict=True))
    return Totals(totals.calls + calls, (one, two, three, four))


def _seen(row: dict[str, Any], session: Session) -> Seen:
    call = Call(
        tool=row["tool_name"],
        target=row["target"],
        arguments=arguments_of(row["tool_args"]),
        digest=row["args_digest"],
        result=row["result_digest"],
        is_error=row["status"] == "error",
        is_write=row["access"] not in (None, "read"),
    )
    totals = _plus(session.totals, row["calls_so_far"], [row[f"{name}_so_far"] for name in TOKENS])
    return Seen(
        call,
        span_reference(row, _shows(row)),
        totals,
        row["start_time"],
        row["event_time"],
        row["parent_span_id"],
    )


def _shows(row: dict[str, Any]) -> str:
    target = f" on {row['target']}" if row["target"] else ""
    arguments = f" {row['tool_args'][:120]}" if row["tool_args"] else ""
    return f"{row['tool_name'] or row['operation']}{target}{arguments} -> {row['status']}"


def _judge(row: dict[str, Any], session: Session, pane_size: int, limits: Limits) -> list[Signal]:
    seen = _seen(row, session)
    before = session.calls
    if before and _is_same_turn(seen, before[-1]):
        return []  # equal calls side by side in one turn count once
    for period, run in enumerate(session.runs, start=1):
        _extend(run, seen, before, period)
    signals: list[Signal] = []
    if session.loop is not None:
        run = session.runs[session.loop.period - 1]
        if run.length == 0:
            signals += _end(row, session, pane_size, limits)
        else:
            session.loop.length, session.loop.last = run.length, seen
            session.loop.errors += seen.call.is_error
    before.append(seen)
    if session.loop is None:
        session.loop = _found(session, seen)
    loop = session.loop
    if loop is not None and row["event_time"] - loop.said_at >= SAY_AGAIN:
        signals.append(_signal(row, session, loop, pane_size, limits, is_over=False))
    return signals


def _extend(run: Run, seen: Seen, before: deque[Seen], period: int) -> None:
    jitter = None
    if len(before) >= period:
        jitter = repeats(seen.call, before[-period].call, before[-1].call if period > 1 else None)
    if jitter is None:
        run.length, run.first, run.jitter = 0, [], set()
        return
    if run.length == 0:
        run.first = list(before)[-period:]
    run.length += 1
    run.jitter |= jitter


def _found(session: Session, seen: Seen) -> Loop | None:
    for period, run in enumerate(session.runs, start=1):
        if run.length >= (REPETITIONS - 1) * period:
            errors = sum(call.call.is_error for call in session.calls)
            return Loop(period, run.first, run.length, run.jitter, seen, errors)
    return None


def _is_same_turn(seen: Seen, last: Seen) -> bool:
    if seen.parent is None or seen.parent != last.parent or seen.start >= last.end:
        return False
    one, two = seen.call, last.call
    return (one.tool, one.target, one.arguments, one.digest) == (
        two.tool,
        two.target,
        two.arguments,
        two.digest,
    )


def _end(row: dict[str, Any], session: Session, pane_size: int, limits: Limits) -> list[Signal]:
    loop = session.loop
    if loop is None:
        return []
    signal = _signal(row, session, loop, pane_size, limits, is_over=True)
    session.wasted_calls += loop.last.totals.calls - loop.first[-1].totals.calls
    session.loop = None
    session.runs = [Run() for _ in range(LONGEST_PERIOD)]
    session.calls.clear()
    return [signal]


def _ledger(session: Session, loop: Loop) -> dict[str, Any]:
    """What was needed and what was not, up to the last repeated call."""
    needed, last = loop.first[-1], loop.last
    redundant = last.totals.calls - needed.totals.calls
    spent = {name: last.totals.tokens[i] - needed.totals.tokens[i] for i, name in enumerate(TOKENS)}
    expected = max(1, needed.totals.calls - session.wasted_calls)
    return {
        "needed_calls": expected,
        "calls": expected + redundant,
        "redundant_calls": redundant,
        "calls_percent_of_expected": round(100 * (expected + redundant) / expected, 1),
        "unplanned_tokens": spent["input_tokens"] - spent["cached_input_tokens"] + spent["output_tokens"],
        **{f"unplanned_{name}": value for name, value in spent.items()},
        "wall_time_seconds": round((last.end - needed.end) / MICROS, 3),
    }


def _signal(
    row: dict[str, Any], session: Session, loop: Loop, pane_size: int, limits: Limits, *, is_over: bool
) -> Signal:
    loop.said_at = row["event_time"]
    first, last, period = loop.first, loop.last, loop.period
    repetitions = 1 + loop.length // period
    tools = list(dict.fromkeys(seen.call.tool or "a tool without a name" for seen in first))
    target = next((seen.call.target for seen in first if seen.call.target), None)
    what = f"{repetitions} equal calls of {tools[0]}" if period == 1 else f"{repetitions} rounds of {', '.join(tools)}"
    on = f" on {name_of(target)}" if target else ""
    jitter = f"; only {', '.join(sorted(loop.jitter))} changed" if loop.jitter else ""
    kind = "feedback_loop.exact" if period == 1 else "feedback_loop.cycle"
    calls = loop.length + period
    gap = (last.end - first[0].end) // max(1, calls - 1)
    began = first[0].reference["event_id"]
    return Signal(
        signal_id=stable_hash(row["tenant"], row["session_id"], kind, began, loop.length, is_over),
        type=kind,
        tenant=row["tenant"],
        scope=scope_of(target),
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        session_id=row["session_id"],
        root_session_id=row["root_session_id"],
        resource=target,
        window_start=first[0].start,
        window_end=last.end,
        detected_at=row["pane"] + pane_size,
        score=float(repetitions),
        severity="warning",
        summary=f"{what}{on} in {format_span(last.end - first[0].start)}, nothing moved{jitter}",
        evidence=compact_json(
            {
                "period": period,
                "repetitions": repetitions,
                "tools": tools,
                "jitter": sorted(loop.jitter),
                "error_share": round(loop.errors / calls, 3),
                "is_over": is_over,
                "max_steps": row["max_steps"],
                "quiet_after_seconds": max(300, round(3 * gap / MICROS)),
                "ledger": _ledger(session, loop),
                "references": [seen.reference for seen in (*first[:2], last)],
            }
        ),
        rule_version=limits.rule_version,
    )
