"""What could have caused a failure: agents' actions and other changes, each with its factors (factors.py). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.correlation.factors import USUAL, Effect, factors, weight
from pipeline.correlation.topology import Topology
from schemas.arguments import in_words, pairs
from schemas.incidents import Verdict
from schemas.resources import kind_of, name_of
from schemas.signals import Action, Fact
from schemas.times import MINUTE

LOOK_BACK = 60 * MINUTE
LOOK_BACK_QUOTA = 12 * 60 * MINUTE  # a quota that is too small runs out hours later
TOLERANCE = MINUTE // 4  # clocks of different machines: an effect may be stamped a little before its cause
SAME_CHANGE = 3 * MINUTE  # a scale or deploy event this soon after an action on the same object is its effect
LEAST = 3e-7  # weights below this are not listed
FAILED_CALL = 0.3  # a call that failed may have done something all the same
PAPER_WORK = 0.05
SHORT, MOST_NAMED = 30, 2  # characters of an argument, and arguments, that a title has room for
BY_CONTROLLER = 0.5
AMOUNTS = ("scale", "quota", "config", "flag")  # whose values may be amounts; those of a deploy are versions
CHANGES = ("deploy", "scale", "config", "flag", "quota", "audit")
CALLED = {"audit": "change", "config": "config change", "flag": "switch", "quota": "quota change"}  # by people
PAPER = frozenset(
    ["document", "doc", "ticket", "dashboard", "issue", "message", "page", "report", "note", "comment", "file", "wiki"]
)


@dataclass(frozen=True, slots=True)
class Cause:
    """One candidate with its weight. `by` groups what one agent session did; verdict: what it would mean."""

    kind: str
    verdict: Verdict
    by: str
    resource: str | None
    event_time: int
    weight: float
    factors: dict[str, float]
    shows: str
    action: Action | None = None
    fact: Fact | None = None


def find(effect: Effect, actions: Iterable[Action], changes: Iterable[Fact], topology: Topology) -> list[Cause]:
    """Every candidate for this failure; most likely first."""
    near = [action for action in actions if _is_before(action.start_time, effect, LOOK_BACK)]
    found = [_of_action(action, effect, topology) for action in near]
    for change in changes:
        look_back = LOOK_BACK_QUOTA if change.kind == "quota" else LOOK_BACK
        if change.kind not in CHANGES or not _is_before(took_effect(change), effect, look_back):
            continue
        if any(is_effect_of(change, action) for action in near):
            continue  # what the agent did, seen from the cluster
        found.append(_of_change(change, effect, topology))
    kept = [cause for cause in found if cause is not None and cause.weight > LEAST]
    return sorted(kept, key=lambda cause: (-cause.weight, cause.event_time, cause.shows))


def _of_action(action: Action, effect: Effect, topology: Topology) -> Cause | None:
    if action.target is None:
        return None
    tool = (action.tool_name or "").lower()
    kind = next((kind for kind in USUAL if kind in tool), "")
    found = factors(action.target, kind, action.start_time, effect, topology)
    if found is None:
        return None
    found["dose"] = _size_of_action(action)
    if action.status == "error":
        found["outcome"] = FAILED_CALL
    if kind_of(action.target) in PAPER:
        found["kind"] = PAPER_WORK
    return Cause(
        "agent_action",
        "agent",
        f"session {action.session_id}",
        action.target,
        action.start_time,
        weight(found),
        found,
        describe_action(action),
        action=action,
    )


def _of_change(change: Fact, effect: Effect, topology: Topology) -> Cause | None:
    is_agent = change.actor_kind == "agent" or change.session_id is not None
    if change.kind == "audit" and not is_agent and change.actor_kind != "human":
        return None
    at = took_effect(change)
    found = factors(change.resource, change.kind, at, effect, topology)
    if found is None:
        return None
    found["dose"] = _size(change.previous_value, change.value) if change.kind in AMOUNTS else 1.0
    is_set_off = change.actor_kind == "controller"  # by somebody we do not see
    if is_set_off:
        found["actor"] = BY_CONTROLLER
    return Cause(
        change.kind,
        "agent" if is_agent else "undetermined" if is_set_off else "change",
        f"session {change.session_id}" if change.session_id else f"event {change.fact_id}",
        change.resource,
        at,
        weight(found),
        found,
        describe_change(change),
        fact=change,
    )


def took_effect(change: Fact) -> int:
    """When a change began to act: an event that only repeats what holds since long is no change of that moment."""
    return min(change.event_time, change.valid_from)


def is_effect_of(change: Fact, action: Action, within: int = SAME_CHANGE) -> bool:
    """Whether a change in the cluster is what this action did there.

    A change that names nobody counts as the action's own only if the tool says it does such things: a deploy right
    after a scale by an agent may be anyone's.
    """
    if change.actor_kind == "human" or action.target != change.resource or action.status == "error":
        return False
    is_named = change.actor_kind is not None or change.session_id is not None
    if not is_named and change.kind != "audit" and change.kind not in (action.tool_name or "").lower():
        return False
    if change.session_id is not None and change.session_id != action.session_id:
        return False
    return -TOLERANCE <= change.event_time - action.start_time <= within + action.end_time - action.start_time


def _is_before(at: int, effect: Effect, look_back: int) -> bool:
    return effect.began - look_back <= at <= effect.began + max(TOLERANCE, effect.blur)


def _size_of_action(action: Action) -> float:
    if action.access == "destructive":
        return 1.5
    return 1.2 if action.access == "provision" else 1.0


def _size(before: str | None, after: str | None) -> float:
    if not (_is_number(before) and _is_number(after)):
        return 1.0
    old, new = float(before or 0), float(after or 0)
    if old <= 0 or new <= 0:
        return 1.2
    ratio = max(old, new) / min(old, new)
    return 1.0 if ratio >= 1.2 else 0.6


def _is_number(value: str | None) -> bool:
    return bool(value) and (value or "").replace(".", "", 1).isdecimal()


def describe_action(action: Action) -> str:
    """`kubernetes.scale on deployment/cart (replicas 24)` as one line for a person."""
    words = in_words(action.tool_args, _parts(action.target))
    return f"{_called(action)}{f' ({words})' if words else ''}"


def name_action(action: Action) -> str:
    """The same as short as a title must be: at most two arguments, and those short ones."""
    short = [
        text
        for name, value in pairs(action.tool_args or "", _parts(action.target))
        if len(text := f"{name} {value}") <= SHORT
    ]
    more = f" ({', '.join(short[:MOST_NAMED])})" if short else ""
    return f"{_called(action)}{more}"


def _called(action: Action) -> str:
    where = f" on {kind_of(action.target)}/{name_of(action.target)}" if kind_of(action.target) else ""
    return f"{action.tool_name or action.operation}{where}"


def _parts(target: str | None) -> set[str]:
    """What arguments need not say again."""
    return {*(target or "").split("/"), target or ""}


def describe_change(change: Fact) -> str:
    """`deploy of deployment/cart 1.4 -> 1.5 by user:mo` as one line for a person."""
    values = f" {change.previous_value} -> {change.value}" if change.previous_value and change.value else ""
    by = f" by {change.actor}" if change.actor else ""
    what = "/".join(part for part in (kind_of(change.resource), name_of(change.resource)) if part)
    return f"{CALLED.get(change.kind, change.kind)} of {what}{values}{by}"
