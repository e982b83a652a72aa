"""How well a change explains a failure: the factors of its weight, each published on the incident. Pure.

    distance  how near what was changed is to what failed first: same object, owner chain, dependency (with direction),
              scope. What failed later counts less: it may only follow.
    coverage  how much of what failed in the first minutes the change reaches
    own       whether what was changed shows a symptom itself
    lag       how long before, against what is usual for this kind of change and of effect
    dose      a change that hardly changes anything, or one that removes something

A weight is the product, times BASE: it is compared with the others, and with 1 for "nothing we saw" (attribution.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.correlation.topology import OWNED, OWNERS, Relation, Topology
from schemas.resources import kind_of
from schemas.times import MICROS, MINUTE

BASE = 12.0  # a change on the object that failed first, minutes before: twelve times as likely as nothing we saw
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
FOLLOWS_AFTER = 90 * MICROS  # what fails this long after the first counts a third
UNREACHED = 0.2  # coverage of a change that reaches nothing
SILENT = 0.4  # own, where what was changed could show a symptom and shows none
MUTE = 0.8  # own, where it could not: a flag, a config map
# until when an effect is as likely as at once, and over what time it becomes a third as likely
LAGS = {
    "flag": (5 * MINUTE, 8 * MINUTE),
    "config": (5 * MINUTE, 10 * MINUTE),
    "deploy": (5 * MINUTE, 10 * MINUTE),
    "scale": (8 * MINUTE, 12 * MINUTE),
    "audit": (5 * MINUTE, 10 * MINUTE),
    "quota": (240 * MINUTE, 120 * MINUTE),
}
SLOW = 2  # memory runs full more slowly than calls fail
AFTERWARDS = 0.4  # clocks differ: a change stamped just after its effect


@dataclass(frozen=True, slots=True)
class Effect:
    """What failed in the first minutes (family of resources -> its first symptom), when it began, what it was like."""

    began: int
    failed: Mapping[str, int]
    is_slow: bool


def factors(resource: str, kind: str, at: int, effect: Effect, topology: Topology) -> dict[str, float] | None:
    """What speaks for a change of `resource` at `at`; None where it is nowhere near what failed."""
    nearest, reached, total = 0.0, 0.0, 0.0
    is_own = False
    for failed, when in effect.failed.items():
        path = topology.path(resource, failed)
        freshness = math.exp(-max(0, when - effect.began) / FOLLOWS_AFTER)
        nearest = max(nearest, freshness * DISTANCE[path.relation] / (2 if path.hops > 1 else 1))
        reached += REACHES[path.relation]
        total += 1
        is_own |= path.relation in (Relation.SAME, Relation.OWNER)
    if not nearest:
        return None
    can_show = kind_of(resource) in (*OWNERS, *OWNED, "node", "database")
    return {
        "distance": nearest,
        "coverage": max(UNREACHED, reached / total),
        "own": 1.0 if is_own else SILENT if can_show else MUTE,
        "lag": _lag(kind, effect.began - at, effect.is_slow),
    }


def _lag(kind: str, lag: int, is_slow: bool) -> float:
    if lag < 0:
        return AFTERWARDS
    usual, fades = LAGS.get(kind, LAGS["deploy"])
    beyond = lag - usual * (SLOW if is_slow else 1)
    return math.exp(-max(0, beyond) / (fades * (SLOW if is_slow else 1)))


def weight(found: Mapping[str, float]) -> float:
    """The product of all factors."""
    return round(BASE * math.prod(found.values()), 4)
