"""The ledger of facts: what an agent should know before it acts.

Bitemporal: a fact has an interval in which it holds and a moment from which it could be read. What a session did not
know of them: context.py.
"""

from dataclasses import dataclass, field

from pipeline.correlation.topology import Relation, Topology
from schemas.incidents import Evidence
from schemas.resources import cluster_of, kind_of, scope_of
from schemas.signals import Action, Fact
from schemas.times import MINUTE

TELLING = ("maintenance", "freeze", "flag", "quota")  # kinds an agent should know before it acts
PASSING = ("deploy", "scale")  # the same while they go on: where they say until when
OFF = frozenset({"off", "false", "disabled", "0", "none"})
OVER = OFF | {"ended", "over", "cancelled", "canceled", "lifted", "completed", "closed"}
WIDE = ("namespace", "cluster", "flag", "quota")  # kinds of resources whose facts concern all that is around them
KEEP = 7 * 24 * 60 * MINUTE  # of event time, after a fact has ended
MOST_FACTS = 10_000  # per tenant
IN_SCOPE = (Relation.SAME, Relation.OWNER, Relation.DEPENDENCY, Relation.SCOPE)


@dataclass(slots=True)
class Ledger:
    """All facts of one tenant that an agent should know, by event id."""

    facts: dict[str, Fact] = field(default_factory=dict)

    def add(self, fact: Fact) -> None:
        """Enter a fact; which of two about the same holds is decided when it is asked."""
        if fact.kind in TELLING or (fact.kind in PASSING and fact.valid_until is not None):
            self.facts[fact.fact_id] = fact
            if len(self.facts) > MOST_FACTS:
                del self.facts[min(self.facts, key=lambda key: (self.facts[key].event_time, key))]

    def expire(self, now: int) -> None:
        """Drop what ended long ago."""
        for key in [key for key, fact in self.facts.items() if fact.valid_until and fact.valid_until < now - KEEP]:
            del self.facts[key]

    def holds(self, fact: Fact, at: int) -> bool:
        """Whether the fact is in force at this moment.

        A newer one about the same ends it where it had no end of its own, or where the newer says that it is over.
        """
        if not _spans(fact, at) or is_over(fact):
            return False
        return not any(other.valid_from <= at and is_ended_by(fact, other) for other in self.facts.values())

    def about(
        self, target: str, at: int, topology: Topology, kinds: tuple[str, ...] = (*TELLING, *PASSING)
    ) -> list[Fact]:
        """Facts in force at `at` in a scope that `target` belongs to or depends on, published or not yet."""
        current = [fact for fact in self.facts.values() if fact.kind in kinds and _spans(fact, at)]
        if not current:
            return []
        depended_on = {scope_of(resource) for resource in topology.dependencies(target)}
        return sorted(
            (
                fact
                for fact in current
                if (
                    topology.path(fact.resource, target).relation in IN_SCOPE
                    or _is_around(fact.resource, target, depended_on)
                )
                and self.holds(fact, at)
            ),
            key=lambda fact: (fact.valid_from, fact.fact_id),
        )


def _spans(fact: Fact, at: int) -> bool:
    """Whether the moment lies in the interval that the fact gave itself."""
    return fact.valid_from <= at and (fact.valid_until is None or fact.valid_until > at)


def is_ended_by(fact: Fact, other: Fact) -> bool:
    """Whether `other`, from when it holds on, ends this fact: it is newer and about the same."""
    return (
        other.kind == fact.kind
        and other.resource == fact.resource
        and (fact.valid_from, fact.fact_id) < (other.valid_from, other.fact_id)
        and (fact.valid_until is None or is_over(other))
    )


def is_over(fact: Fact) -> bool:
    """Whether the fact says that something does not hold any more: a flag that is off, a freeze that was lifted."""
    value = (fact.value or "").lower()
    return value in (OFF if fact.kind == "flag" else OVER if fact.kind in ("freeze", "maintenance") else ())


def _is_around(resource: str, target: str, depended_on: set[str | None]) -> bool:
    """Whether a fact of a whole place concerns the target: its cluster, or a namespace it depends on."""
    if kind_of(resource) == "cluster" or "/" not in resource:
        return cluster_of(resource) == cluster_of(target)
    return kind_of(resource) in (*WIDE, None) and scope_of(resource) in depended_on


def is_frozen(action: Action, ledger: Ledger, topology: Topology) -> list[Fact]:
    """Freezes and maintenance windows of the target itself, or of its namespace, in force when it acted."""
    if action.target is None:
        return []
    return [
        fact
        for fact in ledger.about(action.target, action.start_time, topology, ("freeze", "maintenance"))
        if fact.published_time <= action.start_time
        and (
            topology.path(fact.resource, action.target).relation in (Relation.SAME, Relation.OWNER)
            or (kind_of(fact.resource) == "namespace" and scope_of(fact.resource) == scope_of(action.target))
        )
    ]


def fact_evidence(fact: Fact, shows: str) -> Evidence:
    """The reference to a fact."""
    return Evidence(
        type="fact",
        topic=fact.topic,
        partition=fact.partition,
        offset=fact.offset,
        event_id=fact.fact_id,
        event_time=fact.event_time,
        resource=fact.resource,
        shows=shows,
    )
