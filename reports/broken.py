"""What broke, and what is still broken, in few words: pods are counted under what owns them."""

import re
from collections.abc import Sequence
from datetime import timedelta

from schemas.incidents import BlastResource, Incident
from schemas.resources import kind_of, name_of, scope_of
from schemas.times import EPOCH

# what Kubernetes appends to the name of the owner: a hash and five characters, five characters, or a number
GENERATED = re.compile(r"-(?:[0-9a-z]{5,10}-[0-9a-z]{5}|[0-9a-z]{5}|\d+)$")
OWNERS = ("deployment", "statefulset", "daemonset", "replicaset", "job", "cronjob")
# `kind/name` of an owner or of what has none, its own entry, its pods
Group = tuple[str, BlastResource | None, list[BlastResource]]
SAYS = {
    "off": "metrics off",
    "silent": "was off when its metrics fell silent",
    "back": "back to usual",
    "warned": "",
    "": "",
}


def failed(hit: Sequence[BlastResource]) -> list[str]:
    """`deployment/cart with 8 pods`, in the order in which they came."""
    return [_named(owner, pods) for owner, _, pods in _groups(hit)]


def still_off(hit: Sequence[BlastResource]) -> list[str]:
    """A phrase for each that is not known to be well, and one for all that are; empty where all are."""
    off, well = [], []
    for owner, own, pods in _groups(hit):
        members = [*([own] if own else []), *pods]
        warned = [item.last_at for item in members if item.state == "warned" and item.last_at is not None]
        says = [SAYS[item.state] for item in members[:1] if SAYS[item.state]]
        if warned:
            of = " of its pods" if own and pods else ""
            says.append(f"last warning{of} {(EPOCH + timedelta(microseconds=max(warned))).strftime('%H:%M:%S')}")
        name = _named(owner, pods)
        if own is not None and own.state == "back" and not warned:
            well.append(name)
        else:
            off.append(f"{name}: {', '.join(says)}" if says else name)
    return [*off, *([f"no longer: {', '.join(well)}"] if off and well else [])]


def first_failed(incident: Incident) -> str | None:
    """What failed first, and how that showed."""
    symptoms = [item for item in incident.evidence if item.type == "symptom" and item.resource]
    if not symptoms:
        return None
    first = min(symptoms, key=lambda item: (item.event_time, item.event_id))
    return f"{kind_of(first.resource)}/{name_of(first.resource)}, which failed first: {first.shows}"


def _groups(hit: Sequence[BlastResource]) -> list[Group]:
    """In the order in which they came; a pod joins its owner, or else those of the same owner."""
    owners = {
        (scope_of(item.resource), name_of(item.resource)): item for item in hit if kind_of(item.resource) in OWNERS
    }
    groups: dict[tuple[str | None, str], Group] = {}
    for item in hit:
        scope, kind, name = scope_of(item.resource), kind_of(item.resource), name_of(item.resource)
        is_pod = kind == "pod"
        owner = GENERATED.sub("", name) if is_pod else name
        if is_pod and (scope, owner) in owners:
            kind = kind_of(owners[scope, owner].resource)
        called, own, pods = groups.get((scope, f"{kind}/{owner}"), (f"{kind}/{owner}", None, []))
        groups[scope, called] = (called, own, [*pods, item]) if is_pod else (called, item, pods)
    return list(groups.values())


def _named(owner: str, pods: Sequence[BlastResource]) -> str:
    kind, _, name = owner.partition("/")
    if kind == "pod":
        return f"pod/{name_of(pods[0].resource)}" if len(pods) == 1 else f"{len(pods)} pods of {name}"
    return f"{owner} with {len(pods)} pod{'' if len(pods) == 1 else 's'}" if pods else owner
