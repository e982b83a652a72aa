"""How well a change explains a failure: the factors of its weight, each published on the incident. Pure.

    distance  how near what was changed is to what failed first: same object, owner chain, dependency (with direction),
              scope. What failed later counts less: it may only follow.
    coverage  how much of what failed in the first minutes the change reaches
    own       whether what was changed shows a symptom itself
    lag       how long before, against what is usual for this kind of change and of effect. What changes without harm is
              spread evenly over time, what breaks something stands shortly before it: so nearer always speaks louder
    dose      a change that hardly changes anything, or one that removes something

A weight is the product to the power of SHARPENED, times BASE: it is compared with the others, and with 1 for "nothing
we saw" (attribution.py). The product alone is too timid at both ends: with it, what is right was said with too little
certainty, and a coincidence with too much.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.correlation.topology import OWNED, OWNERS, Relation, Topology
from schemas.resources import kind_of
from schemas.times import MICROS, MINUTE

BASE = 110.0  # a change on the object that failed first, seconds before: 110 times as likely as nothing we saw
SHARPENED = 1.8  # set on the seeds for setting, with BASE: least Brier score, each family as often right as it says
DISTANCE = {
    Relation.SAME: 1.0,
    Relation.OWNER: 1.0,
    Relation.DEPENDENCY: 0.9,
    Relation.DEPENDENT: 0.7,
    Relation.SCOPE: 0.3,
    Relation.CLUSTER: 0.02,
    Relation.NONE: 0.0,
}
REACHES = {
    Relation.SAME: 1.0,
    Relation.OWNER: 1.0,
    Relation.DEPENDENCY: 1.0,
    Relation.DEPENDENT: 0.6,
    Relation.SCOPE: 0.2,
    Relation.CLUSTER: 0.05,
    Relation.NONE: 0.0,
}
# what a whole namespace may use, and nothing says who does: a change of it may reach anything there
PLACED = ("flag", "configmap", "secret", "quota", "namespace")
MAY_REACH = 0.6
FOLLOWS_AFTER = 90 * MICROS  # what fails this long after the first counts a third
SHOWS = (*OWNERS, *OWNED, "node", "database")  # kinds of resources that could show a symptom
UNREACHED = 0.2  # coverage of a change that reaches nothing
SILENT = 0.16  # own, where what was changed could show a symptom and shows none
MUTE = 0.64  # own, where it could not: a flag, a config map
# how long an effect usually takes at most: then it is about a sixth as likely as at once, and less and less after
USUAL = {
    "flag": 5 * MINUTE,
    "config": 5 * MINUTE,
    "deploy": 5 * MINUTE,
    "scale": 8 * MINUTE,
    "audit": 5 * MINUTE,
    "quota": 240 * MINUTE,
}
FADES = 2.5  # as (1 + lag / usual) to this power: slowly, some causes take their time
SLOW = 2  # memory runs full more slowly than calls fail
AFTERWARDS = 0.4  # clocks differ: a change stamped just after its effect


@dataclass(frozen=True, slots=True)
class Effect:
    """What failed in the first minutes (family of resources -> its first symptom), when it began, what it was like."""

    began: int
    failed: Mapping[str, int]
    is_slow: bool
    blur: int = 0  # what is measured every five minutes began within five minutes


def factors(resource: str, kind: str, at: int, effect: Effect, topology: Topology) -> dict[str, float] | None:
    """What speaks for a change of `resource` at `at`; None where it is nowhere near what failed."""
    nearest, reached, total = 0.0, 0.0, 0.0
    is_own = False
    is_anyones = kind_of(resource) in PLACED and not topology.used_by.get(resource)
    for failed, when in effect.failed.items():
        path = topology.path(resource, failed)
        freshness = math.exp(-max(0, when - effect.began) / FOLLOWS_AFTER)
        may_reach = is_anyones and path.relation is Relation.SCOPE
        distance = MAY_REACH if may_reach else DISTANCE[path.relation] / (2 if path.hops > 1 else 1)
        nearest = max(nearest, freshness * distance)
        reached += MAY_REACH if may_reach else REACHES[path.relation]
        total += 1
        is_own |= path.relation in (Relation.SAME, Relation.OWNER)
    if not nearest:
        return None
    return {
        "distance": nearest,
        "coverage": max(UNREACHED, reached / total),
        "own": 1.0 if is_own else SILENT if kind_of(resource) in SHOWS else MUTE,
        "lag": _lag(kind, effect.began - at, effect.is_slow),
    }


def _lag(kind: str, lag: int, is_slow: bool) -> float:
    if lag < 0:
        return AFTERWARDS
    usual = USUAL.get(kind, USUAL["deploy"])
    # what may take hours fits any moment, so that it fits this one says less
    telling = min(1.0, USUAL["deploy"] / usual) ** 0.5
    return float(telling * (1 + lag / (usual * (SLOW if is_slow else 1))) ** -FADES)


def weight(found: Mapping[str, float]) -> float:
    """Of all factors together."""
    return round(float(BASE * math.prod(found.values()) ** SHARPENED), 9)
