"""Repeated run: an agent is started again and again, and each run fails at the same call (`feedback_loop.cron`).

No session shows it: each is short and new. Counted are runs of one agent that ended with an error (failed_run.py), one
after the other and at the same call, with no run between that ended well. Runs side by side are not counted: a fleet
that fails together has an outage, not a loop. Fires at the fifth run, and says so again with each that follows.

rows    failed runs of one pane, and its usage as a table (correlate: it sees all sessions of an agent)
memory  (tenant, agent) -> Failing; about 2 kB; leaves after a day of silence
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.core.limits import Limits
from pipeline.core.loops import TOKENS, Found, Totals, is_news, signal_of
from pipeline.core.memory import Memory
from schemas.resources import name_of
from schemas.signals import Signal
from schemas.times import MINUTE, format_span
from schemas.usage import COUNTED_CALLS

KEEP = 24 * 60 * MINUTE
RUNS = 5
MOST_SESSIONS = 20


@dataclass(slots=True)
class Failing:
    """Runs in a row that failed at the same call."""

    call: str = ""
    runs: int = 0
    needed_calls: int = 0  # of the first run
    started: int = 0
    ended: int = 0
    first_ended: int = 0
    first_id: str = ""
    spent: list[int] = field(default_factory=lambda: [0] * (1 + len(TOKENS)))  # calls and tokens since the first run
    sessions: list[str] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    newest: Signal | None = None
    said_at: int = 0
    said_runs: int = 0


Runs = Memory[tuple[str, str], Failing]


def fresh() -> Runs:
    """An empty memory."""
    return Memory(Failing, KEEP)


def detect(
    failed: Sequence[Signal], usage: pl.DataFrame, pane: int, pane_size: int, memory: Runs, limits: Limits
) -> list[Signal]:
    """Add the runs that failed in this pane, and what their agents used; changes `memory`."""
    signals = _add_usage(usage, pane, pane_size, memory, limits)
    for run in sorted(failed, key=lambda run: (run.window_start, run.signal_id)):
        now = memory.get((run.tenant, run.agent_id or ""), pane)
        signals += _add_run(run, now, pane_size, limits)
    memory.expire(pane)
    return signals


def _add_usage(usage: pl.DataFrame, pane: int, pane_size: int, memory: Runs, limits: Limits) -> list[Signal]:
    """What the agents used that are failing; a run that ended well ends the count."""
    if not usage.height or not len(memory):
        return []
    is_counted = pl.col("operation").is_in(COUNTED_CALLS)
    well = (pl.col("calls") - pl.col("errors")).filter(pl.col("operation") == "invoke_agent").sum()
    sums = [pl.col(name).filter(is_counted).sum() for name in ("calls", *TOKENS)]
    signals = []
    by_agent = usage.group_by("tenant", "agent_id").agg(well.alias("well"), *sums).sort("tenant", "agent_id")
    for tenant, agent, ended_well, *spent in by_agent.iter_rows():
        now = memory.peek((tenant, agent))
        if now is None or not now.runs:
            continue
        if ended_well:
            if now.said_at:
                signals.append(_signal(now, pane, pane_size, limits, is_over=True))
            now.runs, now.said_at, now.said_runs = 0, 0, 0
            continue
        now.spent = [before + own for before, own in zip(now.spent, spent, strict=True)]
    return signals


def _add_run(run: Signal, now: Failing, pane_size: int, limits: Limits) -> list[Signal]:
    details = run.details
    if not now.runs or details["call"] != now.call or run.window_start < now.ended:
        now.call, now.runs, now.needed_calls = details["call"], 1, details["calls"]
        now.started, now.ended, now.first_ended = run.window_start, run.window_end, run.window_end
        now.first_id = details["references"][0]["event_id"]
        now.spent, now.sessions = [0] * len(now.spent), [run.session_id or ""]
        now.references, now.said_at, now.said_runs = details["references"], 0, 0
        return []
    now.runs += 1
    now.ended, now.newest = run.window_end, run
    now.sessions = [*now.sessions, run.session_id or ""][-MOST_SESSIONS:]
    now.references = [now.references[0], *details["references"]]
    if now.runs < RUNS or not is_news(run.window_end, now.runs, now.said_at, now.said_runs):
        return []
    return [_signal(now, run.detected_at - pane_size, pane_size, limits, is_over=False)]


def _signal(now: Failing, pane: int, pane_size: int, limits: Limits, *, is_over: bool) -> Signal:
    run = now.newest
    if run is None:
        raise ValueError("a run was said to repeat before a second one was seen")
    now.said_at, now.said_runs = now.ended, now.runs
    tool = run.details["tool"]
    on = f" on {name_of(run.resource)}" if run.resource else ""
    about = {
        "tenant": run.tenant, "agent_id": run.agent_id, "agent_version": run.agent_version, "session_id": None,
        "root_session_id": None, "max_steps": None, "pane": pane,
    }  # fmt: skip
    lasted = format_span(now.ended - now.started)
    found = Found(
        kind="cron",
        first_id=now.first_id,
        started=now.started,
        ended=now.ended,
        length=now.runs - 1,
        period=1,
        repetitions=now.runs,
        tools=[tool],
        target=run.resource,
        says=f"{now.runs} runs in {lasted} failed at the same call of {tool}{on}, none between ended well",
        needed=Totals(now.needed_calls),
        totals=Totals(now.needed_calls + now.spent[0], *now.spent[1:]),
        wasted=0,
        wall_time=now.ended - now.first_ended,
        references=now.references,
        error_share=1.0,
        is_over=is_over,
        sessions=tuple(now.sessions),
    )
    return signal_of(about, found, pane_size, limits)
