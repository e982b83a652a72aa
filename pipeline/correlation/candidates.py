"""What could have caused a failure: agents' actions and other changes, each with its factors.

A weight is a product of factors, each published on the incident: how near the change is to what failed, how long
before,
how big, and of what kind. It is compared with the weight of "nothing we saw" in attribution.py.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.correlation.topology import Relation, Topology
from schemas.resources import kind_of, name_of
from schemas.signals import Action, Fact
from schemas.times import MINUTE

LOOK_BACK = 60 * MINUTE
TOLERANCE = MINUTE // 4  # clocks of different machines: an effect may be stamped a little before its cause
SAME_CHANGE = 3 * MINUTE  # a scale or deploy event this soon after an action on the same object is its effect
CHANGES = ("deploy", "scale", "config", "flag", "quota", "audit")
BASE = 12.0  # a change on the failed object, minutes before: twelve times as likely as nothing we saw
NEARNESS = {
    Relation.SAME: 1.0,
    Relation.OWNER: 1.0,
    Relation.DEPENDENCY: 0.9,
    Relation.DEPENDENT: 0.7,
    Relation.SCOPE: 0.3,
    Relation.CLUSTER: 0.02,
    Relation.NONE: 0.0,
}
PAPER = frozenset(
    [
        "document",
        "doc",
        "ticket",
        "dashboard",
        "issue",
        "message",
        "page",
        "report",
        "note",
        "comment",
        "file",
        "wiki",
    ]
)
USUAL_LAG = 10 * MINUTE
FADES_OVER = 15 * MINUTE


@dataclass(frozen=True, slots=True)
class Cause:
    """One candidate with its weight. `by` groups what one agent session did; verdict: agent or change."""

    kind: str
    verdict: str
    by: str
    resource: str | None
    event_time: int
    weight: float
    factors: dict[str, float]
    shows: str
    action: Action | None = None
    fact: Fact | None = None


def find(
    began: int, failed: Sequence[str], actions: Iterable[Action], changes: Iterable[Fact], topology: Topology
) -> list[Cause]:
    """Every candidate for a failure that began at `began` on the resources `failed`; most likely first."""
    found = []
    near = [action for action in actions if _is_before(action.start_time, began)]
    for action in near:
        factors = _factors(action.target, action.start_time, began, failed, topology) if action.target else None
        if factors is None:
            continue
        factors |= {"size": _size_of_action(action), "outcome": 0.3 if action.status == "error" else 1.0}
        if kind_of(action.target) in PAPER:
            factors["kind"] = 0.05
        found.append(
            Cause(
                "agent_action",
                "agent",
                f"session {action.session_id}",
                action.target,
                action.start_time,
                _weight(factors),
                factors,
                describe_action(action),
                action=action,
            )
        )
    for change in changes:
        at = took_effect(change)
        if change.kind not in CHANGES or not _is_before(at, began):
            continue
        if any(is_effect_of(change, action) for action in near):
            continue  # what the agent did, seen from the cluster
        factors = _factors(change.resource, at, began, failed, topology)
        if factors is None:
            continue
        factors["size"] = _size(change.previous_value, change.value)
        is_agent = change.actor_kind == "agent" or change.session_id is not None
        if change.kind == "audit" and not is_agent and change.actor_kind != "human":
            continue
        if change.actor_kind == "controller":
            factors["actor"] = 0.5  # somebody else set the controller off
        found.append(
            Cause(
                change.kind,
                "agent" if is_agent else "change",
                f"session {change.session_id}" if change.session_id else f"event {change.fact_id}",
                change.resource,
                at,
                _weight(factors),
                factors,
                describe_change(change),
                fact=change,
            )
        )
    kept = [cause for cause in found if cause.weight > 0.01]
    return sorted(kept, key=lambda cause: (-cause.weight, cause.event_time, cause.shows))


def took_effect(change: Fact) -> int:
    """When a change began to act: an event that only repeats what holds since long is no change of that moment."""
    return min(change.event_time, change.valid_from)


def is_effect_of(change: Fact, action: Action) -> bool:
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
    return -TOLERANCE <= change.event_time - action.start_time <= SAME_CHANGE + action.end_time - action.start_time


def _is_before(at: int, began: int) -> bool:
    return began - LOOK_BACK <= at <= began + TOLERANCE


def _factors(resource: str, at: int, began: int, failed: Sequence[str], topology: Topology) -> dict[str, float] | None:
    paths = [topology.path(resource, effect) for effect in failed]
    nearness = max((NEARNESS[path.relation] / (2 if path.hops > 1 else 1) for path in paths), default=0.0)
    if not nearness:
        return None
    lag = max(0, began - at)
    usual = 1.0 if lag <= USUAL_LAG else math.exp(-(lag - USUAL_LAG) / FADES_OVER)
    return {"nearness": round(nearness, 3), "lag": round(usual, 3)}


def _weight(factors: dict[str, float]) -> float:
    return round(BASE * math.prod(factors.values()), 4)


def _size_of_action(action: Action) -> float:
    if action.access == "destructive":
        return 1.5
    return 1.2 if action.access == "provision" else 1.0


def _size(before: str | None, after: str | None) -> float:
    try:
        old, new = float(before or ""), float(after or "")
    except ValueError:
        return 1.0
    if old <= 0 or new <= 0:
        return 1.2
    ratio = max(old, new) / min(old, new)
    return 1.0 if ratio >= 1.2 else 0.6


def describe_action(action: Action) -> str:
    """`kubernetes.scale on deployment/cart {"replicas": 24}` as one line for a person."""
    where = f" on {kind_of(action.target)}/{name_of(action.target)}" if kind_of(action.target) else ""
    arguments = f" {action.tool_args[:80]}" if action.tool_args else ""
    return f"{action.tool_name or action.operation}{where}{arguments}"


def describe_change(change: Fact) -> str:
    """`deploy of deployment/cart 1.4 -> 1.5 by user:mo` as one line for a person."""
    values = f" {change.previous_value} -> {change.value}" if change.previous_value and change.value else ""
    by = f" by {change.actor}" if change.actor else ""
    return f"{change.kind} of {kind_of(change.resource) or ''}/{name_of(change.resource)}{values}{by}".replace(
        " /", " "
    )
