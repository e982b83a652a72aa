"""The ledger of facts, and what an agent did not know of them when it acted.

Bitemporal: a fact has an interval in which it holds and a moment from which it could be read. For an action, *knowable*
is what held at its decision, had been published before it, and is in a scope that the target belongs to or depends on;
*observed* is what the session had read. The gap is knowable minus observed, each with its class.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.correlation.topology import Relation, Topology
from schemas.incidents import ContextGap, Evidence, GapClass
from schemas.resources import kind_of, name_of, scope_of
from schemas.signals import Action, Fact
from schemas.times import MINUTE, format_time

TELLING = ("maintenance", "freeze", "flag", "quota")  # kinds an agent should know before it acts
OFF = frozenset({"off", "false", "disabled", "0", "none"})
KEEP = 7 * 24 * 60 * MINUTE  # of event time, after a fact has ended
MOST_FACTS = 10_000  # per tenant
GAPS: tuple[GapClass, ...] = ("never_queried", "stale_read", "read_failed", "dropped", "seen_not_used")
IN_SCOPE = (Relation.SAME, Relation.OWNER, Relation.DEPENDENCY, Relation.SCOPE)
WORDS = re.compile(r"[a-z0-9]+")


@dataclass(slots=True)
class Ledger:
    """All facts of one tenant that an agent should know, by event id."""

    facts: dict[str, Fact] = field(default_factory=dict)

    def add(self, fact: Fact) -> None:
        """Enter a fact; a newer one with the same kind and resource ends the one before it, where that had no end."""
        if fact.kind in TELLING:
            self.facts[fact.fact_id] = fact
            if len(self.facts) > MOST_FACTS:
                del self.facts[min(self.facts, key=lambda key: (self.facts[key].event_time, key))]

    def expire(self, now: int) -> None:
        """Drop what ended long ago."""
        for key in [key for key, fact in self.facts.items() if fact.valid_until and fact.valid_until < now - KEEP]:
            del self.facts[key]

    def holds(self, fact: Fact, at: int) -> bool:
        """Whether the fact is in force at this moment."""
        if not fact.valid_from <= at or (fact.valid_until is not None and fact.valid_until <= at):
            return False
        if fact.kind == "flag" and (fact.value or "").lower() in OFF:
            return False
        return fact.valid_until is not None or not any(
            other.kind == fact.kind
            and other.resource == fact.resource
            and (fact.valid_from, fact.fact_id) < (other.valid_from, other.fact_id)
            and other.valid_from <= at
            for other in self.facts.values()
        )

    def about(self, target: str, at: int, topology: Topology) -> list[Fact]:
        """Facts in force at `at` in a scope that `target` belongs to or depends on, published or not yet."""
        return sorted(
            (
                fact
                for fact in self.facts.values()
                if self.holds(fact, at) and topology.path(fact.resource, target).relation in IN_SCOPE
            ),
            key=lambda fact: (fact.valid_from, fact.fact_id),
        )


def context_gaps(action: Action, ledger: Ledger, topology: Topology) -> tuple[ContextGap, ...]:
    """What the session did not know when it decided on this action; classes of DESIGN section 5."""
    if action.target is None:
        return ()
    reads: list[dict[str, Any]] = orjson.loads(action.observed)
    said: list[str] = orjson.loads(action.context_facts)
    gaps = []
    for fact in ledger.about(action.target, action.start_time, topology):
        kind, read_at = classify(fact, action, reads, fact.fact_id in said)
        shows = f"{fact.kind} on {name_of(fact.resource)}"
        shows += f" ({fact.message or fact.value})" if fact.message or fact.value else ""
        shows += f", in force from {format_time(fact.valid_from)}"
        gaps.append(
            ContextGap(
                event_id=fact.fact_id,
                resource=fact.resource,
                source=fact.source,
                class_=kind,
                span_id=action.span_id,
                read_at=read_at,
                shows=shows,
            )
        )
    return tuple(gaps)


def classify(fact: Fact, action: Action, reads: list[dict[str, Any]], is_declared: bool) -> tuple[GapClass, int | None]:
    """The class of one fact for one action, and when the session read it last."""
    if fact.published_time > action.start_time:
        return "unknowable", None
    seen = [read for read in reads if observes(read, fact)]
    good = [read["read_at"] for read in seen if read["ok"]]
    if is_declared and not good:
        return "seen_not_used", None
    if not seen:
        is_blind = any(read["tool"] is None and read["target"] is None for read in reads)
        return ("cannot_tell" if is_blind or (fact.source is None and not reads) else "never_queried"), None
    if not good:
        return "read_failed", max(read["read_at"] for read in seen)
    last = max(good)
    if last < fact.published_time:
        return "stale_read", last
    if action.cut_at is not None and last < action.cut_at <= action.start_time:
        return "dropped", last
    return "seen_not_used", last


def observes(read: dict[str, Any], fact: Fact) -> bool:
    """Whether this read shows the fact: its tool belongs to the fact's source, or it read the very resource."""
    if fact.source is None:
        return bool(read["target"] == fact.resource)
    source = set(WORDS.findall(fact.source.lower()))
    return bool(source) and source <= set(WORDS.findall(str(read["tool"] or "").lower()))


def is_frozen(action: Action, ledger: Ledger, topology: Topology) -> list[Fact]:
    """Freezes and maintenance windows of the target itself, or of its namespace, in force when it acted."""
    if action.target is None:
        return []
    return [
        fact
        for fact in ledger.about(action.target, action.start_time, topology)
        if fact.kind in ("freeze", "maintenance")
        and fact.published_time <= action.start_time
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
