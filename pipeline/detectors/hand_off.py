"""Hand-offs that go nowhere, over all sessions of one delegation (a root session and what was started for it).

`feedback_loop.ping_pong`: agents hand to each other for five rounds and nobody calls a tool between; or an agent is
sent out again with what it was asked before, in the same or in other words and naming nothing new, three times, and
does again what it had done. A write that succeeds moves the world: both counts begin anew.
`feedback_loop.fan_out`: agents that were started hand on what had been handed on before, to ever more agents: eight
times, by four sessions below the first, while fewer tools are called than tasks handed on.

Only delegations are remembered: from its first hand-off on, Python looks at the calls of a root session. Calls and
tokens of the ledger are counted from there.

memory  (tenant, root session) -> Delegation; about 7 kB; leaves after 6 h of silence
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.loops import TOKENS, Found, Totals, is_news, signal_of
from pipeline.core.memory import Memory
from pipeline.core.panes import mix
from pipeline.core.rows import Rows
from pipeline.core.sameness import canonical_hash, names_in
from pipeline.core.sessions import KEEP, SessionIndex
from pipeline.core.wording import is_alike, sketch_of
from schemas.signals import Signal, stable_hash
from schemas.times import format_span
from schemas.usage import COUNTED_CALLS

ROUNDS = 5
RESTATED = 3
PASSED_ON = 8
BELOW = 4  # sessions below the first that hand on what they were handed
MOST_ASKED = 8  # instructions remembered of each agent that is asked, and agents
MOST_DONE = 32
MOST_NAMES = 64
WRITING = ("write", "destructive", "provision")
CALLED = ("tenant", "agent_id", "tool_name", "target", "agent_version")  # as limits are asked for
WHO = ("agent_id", "agent_version", "session_id")
ROW = (
    "tenant", "session_id", "root_session_id", "agent_id", "agent_version", "operation", "tool_name", "tool_args",
    "args_digest", "result_digest", "status", "access", "target", "max_steps", "start_time", "event_time", "span_id",
    "partition", "offset", "pane", *TOKENS,
)  # fmt: skip


@dataclass(slots=True)
class Trail:
    """One way to go nowhere: how often, since when, and what shows it."""

    count: int = 0
    needed: Totals = field(default_factory=Totals)
    started: int = 0
    first_id: str = ""
    references: list[dict[str, Any]] = field(default_factory=list)
    said_at: int = 0
    said_count: int = 0
    says: str = ""
    by: list[str | None] = field(default_factory=list)  # agent, version and session of who handed off last

    def add(self, row: dict[str, Any], before: Totals, shows: str) -> None:
        """Once more; what was spent before the first time was needed."""
        if not self.count:
            self.needed, self.started, self.first_id = before, row["start_time"], row["span_id"]
        self.count += 1
        self.by = [row[name] for name in WHO]
        self.references = [*self.references[:1], span_reference(row, shows)]


@dataclass(slots=True)
class Delegation:
    """What is known of one root session since its first hand-off."""

    totals: Totals = field(default_factory=Totals)
    handed: int = 0
    worked: int = 0  # tool calls of sessions below the first
    sender: str = ""  # who handed off last
    edges: dict[str, int] = field(default_factory=dict)  # who handed to whom since the last tool call -> how often
    asked: dict[str, list[str]] = field(default_factory=dict)  # agent -> sketches of what it was asked
    names: list[int] = field(default_factory=list)  # what instructions have named
    done: list[int] = field(default_factory=list)  # hashes of the calls of those who were asked
    redone: dict[str, int] = field(default_factory=dict)  # tool -> calls that had been made before
    below: dict[str, None] = field(default_factory=dict)  # sessions that handed on what had been handed on
    returned: Trail = field(default_factory=Trail)
    restated: Trail = field(default_factory=Trail)
    passed_on: Trail = field(default_factory=Trail)


def fresh(_: SessionIndex | None = None) -> Memory[int, Delegation]:
    """An empty memory."""
    return Memory(Delegation, KEEP)


def detect(rows: Rows, memory: Memory[int, Delegation], limits: Limits) -> list[Signal]:
    """Follow the calls of every delegation; changes `memory`."""
    is_hand_off = rows.equals("operation", "handoff")
    if not is_hand_off.any() and not len(memory):
        return []
    own = rows.hashes("root_session_id")
    roots = mix([rows.hashes("tenant"), np.where(own != 0, own, rows.hashes("session_id"))])
    known = np.union1d(roots[is_hand_off], np.fromiter(memory, np.uint64, len(memory)))
    is_counted = rows.equals("operation", *COUNTED_CALLS, "invoke_agent")
    places = np.flatnonzero(is_counted & np.isin(roots, known))
    signals = []
    for root, row in zip(roots[places].tolist(), rows.take(places, ROW).rows(named=True), strict=True):
        if row["operation"] != "handoff" and not memory.is_live(root, row["event_time"]):
            continue
        seen = memory.get(root, row["event_time"])
        signals += _judge(row, seen, rows.pane_size, limits)
    return signals


def _judge(row: dict[str, Any], seen: Delegation, pane_size: int, limits: Limits) -> list[Signal]:
    if row["operation"] == "invoke_agent":
        is_root = row["session_id"] == (row["root_session_id"] or row["session_id"])
        return _over(row, seen, ("returned", "restated", "passed_on"), pane_size, limits) if is_root else []
    before = seen.totals
    seen.totals = Totals(before.calls + 1, *(getattr(before, name) + row[name] for name in TOKENS))
    if row["operation"] == "handoff":
        _hand_off(row, seen, before)
    elif row["operation"] != "chat":
        signals = _work(row, seen, pane_size, limits)
        return signals + _found(row, seen, pane_size, limits)
    return _found(row, seen, pane_size, limits) if row["operation"] == "handoff" else []


def _hand_off(row: dict[str, Any], seen: Delegation, before: Totals) -> None:
    to = row["tool_name"] or "an agent"
    text = _text(row["tool_args"])
    seen.handed += 1
    seen.sender = _who(row)
    edge = f"{row['agent_id']} > {to}"
    if edge in seen.edges:
        seen.returned.add(row, before, f"{row['agent_id']} hands to {to} again, no tool was called since")
    if edge in seen.edges or len(seen.edges) < MOST_ASKED:
        seen.edges[edge] = seen.edges.get(edge, 0) + 1
    sketch = sketch_of(text)
    names = names_in(text)
    is_new = any(name not in seen.names for name in names)
    if to not in seen.asked and len(seen.asked) >= MOST_ASKED:
        del seen.asked[next(iter(seen.asked))]
    asked = seen.asked.setdefault(to, [])
    if not is_new and any(is_alike(sketch, other) for other in asked):
        shows = f"{row['agent_id']} asks {to} again: {text[:120]}"
        seen.restated.add(row, before, shows)
        if row["session_id"] != (row["root_session_id"] or row["session_id"]):
            seen.passed_on.add(row, before, shows)
            if len(seen.below) < PASSED_ON:
                seen.below[row["session_id"]] = None
    seen.asked[to] = [*asked, sketch][-MOST_ASKED:]
    seen.names = [*seen.names, *(name for name in names if name not in seen.names)][-MOST_NAMES:]


def _work(row: dict[str, Any], seen: Delegation, pane_size: int, limits: Limits) -> list[Signal]:
    """A tool call: those who hand to each other have stopped, and a write that succeeds is progress."""
    signals = _over(row, seen, ("returned",), pane_size, limits)
    seen.edges = {}
    seen.worked += row["session_id"] != (row["root_session_id"] or row["session_id"])
    if row["access"] in WRITING and row["status"] == "ok":
        signals += _over(row, seen, ("restated",), pane_size, limits)
        seen.done, seen.redone = [], {}
    elif _who(row) != seen.sender and (row["tool_args"] or row["args_digest"]):
        volatile = limits.value("volatile_arguments", *(row[name] for name in CALLED))
        digest = None if volatile else row["args_digest"]  # of all arguments, with those that do not matter
        arguments = digest or canonical_hash(row["tool_args"], volatile or ())
        result = None if row["status"] != "ok" else row["result_digest"]
        call = int(stable_hash(_who(row), row["tool_name"], row["target"], arguments, result), 16)
        tool = row["tool_name"] or "a tool"
        if call in seen.done:
            if tool in seen.redone or len(seen.redone) < MOST_ASKED:
                seen.redone[tool] = seen.redone.get(tool, 0) + 1
        else:
            seen.done = [*seen.done, call][-MOST_DONE:]
    return signals


def _found(row: dict[str, Any], seen: Delegation, pane_size: int, limits: Limits) -> list[Signal]:
    signals = []
    rounds = max(seen.edges.values(), default=0)
    if rounds >= ROUNDS and len({edge.split(" > ")[0] for edge in seen.edges}) > 1:
        lasted = format_span(row["event_time"] - seen.returned.started)
        says = f"{_list(seen.edges)}: {rounds} rounds in {lasted}, and nobody called a tool"
        signals += _say("returned", row, seen, rounds, says, pane_size, limits)
    if seen.restated.count >= RESTATED and seen.redone:
        again = ", ".join(list(seen.redone)[:3])
        says = (
            f"{seen.restated.count} of {seen.handed} hand-offs asked for what had been asked before, "
            f"and {sum(seen.redone.values())} calls did again what had been done ({again}); nothing was changed between"
        )
        signals += _say("restated", row, seen, seen.restated.count, says, pane_size, limits)
    if seen.passed_on.count >= PASSED_ON and len(seen.below) >= BELOW and seen.worked < seen.handed:
        says = (
            f"{seen.passed_on.count} hand-offs passed on what had been handed on before; "
            f"{seen.handed} were made and {seen.worked} tools called below the first session"
        )
        signals += _say("passed_on", row, seen, seen.passed_on.count, says, pane_size, limits)
    return signals


def _say(
    name: str, row: dict[str, Any], seen: Delegation, count: int, says: str, pane_size: int, limits: Limits,
    *, is_over: bool = False,
) -> list[Signal]:  # fmt: skip
    trail: Trail = getattr(seen, name)
    has_grown = count > trail.said_count
    if not is_over and not (has_grown and is_news(row["event_time"], count, trail.said_at, trail.said_count)):
        return []
    trail.said_at, trail.said_count, trail.says = row["event_time"], count, says
    found = Found(
        kind="fan_out" if name == "passed_on" else "ping_pong",
        first_id=trail.first_id,
        started=trail.started,
        ended=row["event_time"],
        length=trail.count,
        period=1,
        repetitions=count,
        tools=list(seen.asked)[:3],
        target=None,
        says=says,
        needed=trail.needed,
        totals=seen.totals,
        wasted=0,
        wall_time=row["event_time"] - trail.started,
        references=trail.references,
        is_over=is_over,
    )
    return [signal_of(row | dict(zip(WHO, trail.by, strict=True)), found, pane_size, limits)]


def _over(
    row: dict[str, Any], seen: Delegation, names: tuple[str, ...], pane_size: int, limits: Limits
) -> list[Signal]:
    """These trails end here; those that were said are said to be over."""
    signals = []
    for name in names:
        trail: Trail = getattr(seen, name)
        if trail.said_at:
            signals += _say(name, row, seen, trail.said_count, trail.says, pane_size, limits, is_over=True)
        setattr(seen, name, Trail())
    return signals


def _who(row: dict[str, Any]) -> str:
    return f"{row['agent_id']} in {row['session_id']}"


def _text(arguments: str | None) -> str:
    """What an instruction says: the longest text among its arguments."""
    try:
        value = orjson.loads(arguments or "")
    except orjson.JSONDecodeError:
        return arguments or ""
    texts = [item for item in value.values() if isinstance(item, str)] if isinstance(value, dict) else [str(value)]
    return max(texts, key=len, default="")


def _list(edges: dict[str, int]) -> str:
    return "; ".join(list(edges)[:3])
