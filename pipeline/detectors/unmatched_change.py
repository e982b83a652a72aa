"""Unmatched change: what an agent says it did, held against what the cluster says was done. Only correlate has both.

`governance.phantom`      an action that went well and had no effect in the cluster
`governance.dark`         an effect by an agent's identity, of which no trace tells
`governance.oversized`    the effect is a larger change than the action's arguments asked for
`governance.late_effect`  the effect came much later than effects of such actions come

Silence proves nothing where nothing was ever said. So a phantom or a late effect needs a source that has told of the
effects of such actions before (same tool, kind of resource, cluster), nearly always; a dark one an identity whose
effects were told of in traces before. And who is silent now may only be late: both are decided when the other side
has spoken again after the wait. If it does not, it cannot be decided, and nothing is said. Judge first, learn after.

rows    new actions and changes of a tenant and pane (correlate), beside those of the last hour
memory  what was shown, by kind of action and by identity: 200 bytes each, leaves after a week unused; what waits to
        be judged: at most MOST_WAITING actions and changes, the oldest goes undecided
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.arguments import leaves_of, number_of
from pipeline.core.evidence import action_reference, reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from schemas.resources import cluster_of, kind_of, name_of, scope_of
from schemas.signals import Action, Fact, Signal, compact_json, stable_hash
from schemas.times import MICROS, MINUTE, format_span

WAIT = 5 * MINUTE  # for an effect, after the action ended
WAIT_FOR_TRACE = 15 * MINUTE  # a call is told of when it ends
GIVES_UP = 30 * MINUTE  # after the wait: the other side does not speak, it cannot be decided
KEEP = 7 * 24 * 60 * MINUTE
MOST_WAITING = 2_000
EFFECTS = ("deploy", "scale", "config", "flag", "quota")
ENOUGH = 5  # effects of such actions that were seen, for a missing one to mean anything
ENOUGH_TRACES = 3
RELIABLE = 0.95
SOON = MINUTE  # later than this, and LATE times as late as ever, is late
LATE = 4
LARGER = 1.2  # times as large as asked for
AMOUNTS = frozenset(
    ("replicas", "count", "size", "instances", "desired", "nodes", "capacity", "limit", "quota", "value")
)
IS_EFFECT = Callable[[Fact, Action, int], bool]  # within this time
Breach = tuple[str, str, str]  # last part of the type, what it shows, the gap


@dataclass(slots=True)
class Shown:
    """How often the other side told of such a thing. kinds: of the changes that did; longest: microseconds it took."""

    judged: int = 0
    told: int = 0
    longest: int = 0
    kinds: list[str] = field(default_factory=list)

    def would_tell(self, enough: int) -> bool:
        """Whether its silence means anything."""
        return self.told >= enough and self.told >= RELIABLE * self.judged

    def learn(self, change: Fact | None, lag: int) -> None:
        """Take one more case in."""
        self.judged += 1
        if change is not None:
            self.told += 1
            self.longest = max(self.longest, lag)
            if change.kind not in self.kinds:
                self.kinds.append(change.kind)


class Waiting:
    """What was shown before, and what waits to be judged."""

    def __init__(self) -> None:
        self.effects: Memory[tuple[str, ...], Shown] = Memory(Shown, KEEP)
        self.traces: Memory[tuple[str, ...], Shown] = Memory(Shown, KEEP)
        self.actions: list[Action] = []
        self.changes: list[Fact] = []

    def expire(self, now: int) -> None:
        """Forget what was not used for a week."""
        self.effects.expire(now)
        self.traces.expire(now)

    def saved(self) -> Any:
        """For a snapshot."""
        return {
            "effects": self.effects.saved(),
            "traces": self.traces.saved(),
            "actions": self.actions,
            "changes": self.changes,
        }

    def restore(self, saved: Any) -> None:
        """The other way."""
        self.effects.restore(saved["effects"])
        self.traces.restore(saved["traces"])
        self.actions, self.changes = saved["actions"], saved["changes"]


def fresh() -> Waiting:
    """An empty memory."""
    return Waiting()


def detect(
    new: tuple[Iterable[Action], Iterable[Fact]],
    actions: Sequence[Action],
    changes: Sequence[Fact],
    is_effect: IS_EFFECT,
    pane: int,
    pane_size: int,
    memory: Waiting,
    limits: Limits,
) -> list[Signal]:
    """Let what is new wait, and judge what has waited long enough; changes `memory`."""
    now = pane + pane_size
    waiting = [*memory.actions, *(a for a in new[0] if a.status == "ok" and not a.late and a.target is not None)]
    told = [*memory.changes, *(c for c in new[1] if _is_by_agent(c))]
    memory.actions = [action for action in waiting if action.end_time + WAIT > now][-MOST_WAITING:]
    memory.changes = [change for change in told if change.event_time + WAIT_FOR_TRACE > now][-MOST_WAITING:]
    signals = []
    for action in waiting:
        if action.end_time + WAIT <= now:
            signals += _judge_action(action, changes, is_effect, now, memory, limits)
    for change in told:
        if change.event_time + WAIT_FOR_TRACE <= now:
            signals += _judge_change(change, actions, now, memory, limits)
    return signals


def _is_by_agent(change: Fact) -> bool:
    is_named = change.actor_kind == "agent" or (change.session_id is not None and change.actor_kind is None)
    return is_named and change.kind in EFFECTS and not change.late


def _judge_action(
    action: Action, changes: Sequence[Fact], is_effect: IS_EFFECT, now: int, memory: Waiting, limits: Limits
) -> list[Signal]:
    key = (action.tool_name or "", kind_of(action.target) or "", cluster_of(action.target) or "")
    shown = memory.effects.get(key, now)
    effect = min(
        (change for change in changes if change.resource == action.target and is_effect(change, action, WAIT)),
        key=lambda change: (change.event_time, change.fact_id),
        default=None,
    )
    last = action.end_time + WAIT + GIVES_UP
    if effect is None and (now > last or not _has_spoken(action, shown, changes)):
        if shown.told and now <= last:
            memory.actions.insert(0, action)
        return []
    lag = max(0, effect.event_time - action.start_time) if effect else 0
    found = _claimed(action, effect, lag, shown)
    shown.learn(effect, lag)
    return [_signal_of_action(action, breach, effect, now, limits) for breach in found]


def _has_spoken(action: Action, shown: Shown, changes: Sequence[Fact]) -> bool:
    """Whether the source told of anything of this kind after the wait for the effect was over."""
    cluster, over = cluster_of(action.target), action.end_time + WAIT
    return any(
        change.kind in shown.kinds and change.event_time >= over and cluster_of(change.resource) == cluster
        for change in changes
    )


def _claimed(action: Action, effect: Fact | None, lag: int, shown: Shown) -> list[Breach]:
    what = f"{action.tool_name or action.operation} on {name_of(action.target)}"
    would_tell = shown.would_tell(ENOUGH)
    if effect is None:
        if not would_tell:
            return []
        told = f"the cluster told of {shown.told} of {shown.judged} such calls before"
        return [("phantom", f"{what} said it went well and had no effect; {told}", "verification: effect not checked")]
    found = []
    asked = _asked_for(action.tool_args, effect)
    if asked is not None:
        did = f"{effect.previous_value} to {effect.value}"
        gap = "verification: effect larger than asked for"
        found.append(("oversized", f"{what} asked for {asked:g} and changed it from {did}", gap))
    if would_tell and lag > max(SOON, LATE * shown.longest):
        took = f"{format_span(lag)}, at most {format_span(shown.longest)} before"
        found.append(("late_effect", f"{what} took effect after {took}", "verification: effect came late, not awaited"))
    return found


def _asked_for(arguments: str | None, effect: Fact) -> float | None:
    """The amount that was asked for, where the effect goes well beyond it; None where not, or it cannot be told."""
    before, after = number_of(effect.previous_value), number_of(effect.value)
    asked = [number_of(value) for name, value in leaves_of(arguments) if name.lower() in AMOUNTS]
    amounts = [amount for amount in asked if amount is not None]
    if before is None or after is None or not amounts:
        return None
    moved = abs(after - before)
    if after in amounts or moved in amounts:
        return None
    nearest = min(amounts, key=lambda amount: abs(after - amount))
    return nearest if moved > LARGER * abs(nearest - before) else None


def _judge_change(change: Fact, actions: Sequence[Action], now: int, memory: Waiting, limits: Limits) -> list[Signal]:
    shown = memory.traces.get((change.actor or "", change.kind, cluster_of(change.resource) or ""), now)
    is_told = any(_tells(action, change) for action in actions)
    over = change.event_time + WAIT_FOR_TRACE
    has_spoken = any(action.end_time >= over for action in actions)
    if not is_told and (now > over + GIVES_UP or not has_spoken):
        if shown.told and now <= over + GIVES_UP:
            memory.changes.insert(0, change)
        return []
    is_dark = not is_told and shown.would_tell(ENOUGH_TRACES)
    shown.learn(change if is_told else None, 0)
    return [_signal_of_change(change, now, limits)] if is_dark else []


def _tells(action: Action, change: Fact) -> bool:
    """Whether the trace of this action may be that of the change: one call may change more than its target."""
    is_same = action.session_id == change.session_id if change.session_id else action.agent_id == change.actor
    return is_same and action.start_time - MINUTE <= change.event_time <= action.end_time + WAIT


def _signal_of_action(action: Action, breach: Breach, effect: Fact | None, now: int, limits: Limits) -> Signal:
    name, shows, gap = breach
    references = [action_reference(action, shows)]
    if effect is not None:
        references.append(_reference(effect, f"{effect.kind} of {name_of(effect.resource)}"))
    return Signal(
        signal_id=stable_hash(action.tenant, action.session_id, name, action.span_id),
        type=f"governance.{name}",
        tenant=action.tenant,
        scope=scope_of(action.target),
        agent_id=action.agent_id,
        agent_version=action.agent_version,
        session_id=action.session_id,
        root_session_id=action.root_session_id,
        resource=action.target,
        window_start=action.start_time,
        window_end=effect.event_time + MICROS if effect is not None else action.end_time + WAIT,
        detected_at=now,
        score=1.0,
        summary=shows,
        evidence=compact_json({"gap": gap, "references": references}),
        rule_version=limits.rule_version,
    )


def _signal_of_change(change: Fact, now: int, limits: Limits) -> Signal:
    who = change.actor or f"session {change.session_id}"
    shows = f"{change.kind} of {name_of(change.resource)} by {who}: no trace tells of it"
    details = {"gap": "trace: none of a change by the agent's identity", "references": [_reference(change, shows)]}
    return Signal(
        signal_id=stable_hash(change.tenant, "dark", change.fact_id),
        type="governance.dark",
        tenant=change.tenant,
        scope=scope_of(change.resource),
        agent_id=change.actor,
        session_id=change.session_id,
        resource=change.resource,
        window_start=change.event_time,
        window_end=change.event_time + MICROS,
        detected_at=now,
        score=1.0,
        summary=shows,
        evidence=compact_json(details),
        rule_version=limits.rule_version,
    )


def _reference(change: Fact, shows: str) -> dict[str, Any]:
    row = {"partition": change.partition, "offset": change.offset, "event_time": change.event_time}
    return reference(row, change.topic, change.fact_id, shows, kind="change", resource=change.resource)
