"""Careless change: an agent changes something against what holds around it. What that is, only correlate knows.

`governance.freeze`          the target, or its namespace, was in a freeze or a maintenance window that had been
                             published before; `may_change_in_freeze` allows it, an approval excuses it
`governance.stale_decision`  someone else changed the target after the session had read it last
`governance.all_at_once`     `needs_canary`, and it goes to everything at once: no part was tried on this target before,
                             by anybody, in the last week

An action that was refused or failed is none of these; one that came late is evidence only. A change seen in the
cluster that is the effect of the session's own action is nobody else's; what a controller does counts only where the
action says (`expects`) that it went by the value from before.

rows    actions and facts of one tenant and pane (correlate), and what holds around an action
memory  target -> when a part of it was changed; 200 bytes; leaves after a week
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from pipeline.core.arguments import leaves_of, share_of
from pipeline.core.evidence import action_reference, reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from schemas.resources import name_of, scope_of
from schemas.signals import Action, Fact, Signal, compact_json, stable_hash
from schemas.times import MINUTE, format_span, format_time

KEEP = 7 * 24 * 60 * MINUTE
CHANGING = ("deploy", "scale", "config", "flag")
WINDOWS = Callable[[Action], Sequence[Fact]]  # freezes and maintenance windows that the action ran into
EFFECT = Callable[[Fact, Action], bool]  # whether a change is what this session did itself
Breach = tuple[str, str, str, list[dict[str, Any]]]  # last part of the type, what it shows, the gap, more references


def fresh() -> Memory[str, list[int]]:
    """An empty memory."""
    return Memory(list, KEEP)


def detect(
    actions: Iterable[Action],
    changes: Sequence[Fact],
    windows: WINDOWS,
    is_own_effect: EFFECT,
    pane: int,
    pane_size: int,
    memory: Memory[str, list[int]],
    limits: Limits,
) -> list[Signal]:
    """Judge the actions of one pane, in the order they began; changes `memory`."""
    signals = []
    for action in actions:
        if action.status != "ok" or action.late or action.target is None:
            continue
        found = [
            *_in_window(action, windows, limits),
            *_stale(action, changes, is_own_effect),
            *_at_once(action, pane, memory, limits),
        ]
        signals += [_signal(action, breach, pane + pane_size, limits) for breach in found]
    return signals


def _in_window(action: Action, windows: WINDOWS, limits: Limits) -> list[Breach]:
    if action.approval == "granted" or _limit(limits, "may_change_in_freeze", action):
        return []
    found = windows(action)
    if not found:
        return []
    fact = found[0]
    until = f", until {format_time(fact.valid_until)}" if fact.valid_until is not None else ""
    shows = f"{_what(action)} ran during a {fact.kind} of {name_of(fact.resource)}{until}"
    told = f"{fact.kind} of {name_of(fact.resource)}, published {format_time(fact.published_time)}"
    gap = f"freeze: no check of {fact.source or fact.kind} before the change"
    return [("freeze", shows, gap, [_fact_reference(fact, told)])]


def _stale(action: Action, changes: Sequence[Fact], is_own_effect: EFFECT) -> list[Breach]:
    """The newest change by someone else between the last good look at the target and the action."""
    near = [change for change in changes if change.resource == action.target and change.kind in CHANGING]
    if not near:
        return []
    reads = [read for read in orjson.loads(action.observed) if read["target"] == action.target and read["ok"]]
    if not reads:
        return []  # not stale but blind: unguarded_change.py
    looked = max(read["read_at"] for read in reads)
    said = _values(action.expects)
    newer = [
        change
        for change in near
        if looked < change.event_time < action.start_time and _is_foreign(change, action, said, is_own_effect)
    ]
    if not newer:
        return []
    change = max(newer, key=lambda fact: (fact.event_time, fact.fact_id))
    values = f" from {change.previous_value} to {change.value}" if change.previous_value and change.value else ""
    did = f"{change.kind} of {name_of(change.resource)}{values} by {change.actor or 'someone else'}"
    age = format_span(action.start_time - looked)
    shows = f"{_what(action)} went by a look {age} old; {did} came after it"
    return [("stale_decision", shows, "decision older than the state it was based on", [_fact_reference(change, did)])]


def _is_foreign(change: Fact, action: Action, said: frozenset[str], is_own_effect: EFFECT) -> bool:
    if change.session_id == action.session_id or is_own_effect(change, action):
        return False
    if said and change.value is not None and change.previous_value is not None:
        if change.previous_value in said:
            return change.value not in said
        if change.value in said:
            return False
    return change.actor_kind != "controller"


def _at_once(action: Action, pane: int, memory: Memory[str, list[int]], limits: Limits) -> list[Breach]:
    if not _limit(limits, "needs_canary", action):
        return []
    target = action.target or ""
    share = share_of(action.tool_args)
    if share is not None and share < 100:
        memory.get(target, pane)[:] = [pane]
        return []
    known = memory.peek(target)
    if known and pane - known[0] <= KEEP:
        return []
    how = "goes to everything at once" if share is not None else "says nothing of a first step"
    shows = f"{_what(action)} {how}, and no part was tried before"
    return [("all_at_once", shows, "canary: none before the change", [])]


def _values(text: str | None) -> frozenset[str]:
    return frozenset(str(value) for _, value in leaves_of(text))


def _limit(limits: Limits, name: str, action: Action) -> Any:
    return limits.value(name, action.tenant, action.agent_id, action.tool_name, action.target, action.agent_version)


def _what(action: Action) -> str:
    return f"{action.tool_name or action.operation} on {name_of(action.target)}"


def _fact_reference(fact: Fact, shows: str) -> dict[str, Any]:
    row = {"partition": fact.partition, "offset": fact.offset, "event_time": fact.event_time}
    return reference(row, fact.topic, fact.fact_id, shows, kind="fact", resource=fact.resource)


def _signal(action: Action, breach: Breach, detected_at: int, limits: Limits) -> Signal:
    name, shows, gap, references = breach
    kind = f"governance.{name}"
    return Signal(
        signal_id=stable_hash(action.tenant, action.session_id, kind, action.span_id),
        type=kind,
        tenant=action.tenant,
        scope=scope_of(action.target),
        agent_id=action.agent_id,
        agent_version=action.agent_version,
        session_id=action.session_id,
        root_session_id=action.root_session_id,
        resource=action.target,
        window_start=action.start_time,
        window_end=action.end_time,
        detected_at=detected_at,
        score=1.0,
        summary=shows,
        evidence=compact_json({"gap": gap, "references": [action_reference(action, shows), *references]}),
        rule_version=limits.rule_version,
    )
