"""The board: what an agent should know before it acts, of one tenant, as it stands on `facts.v1`. Pure.

Posted are the facts in force and those to come (maintenance, freeze, flag, quota), the newest known state of each
resource (deploy, scale, config), what depends on what, and open incidents. A fact is taken down at its end, in event
time: at `valid_until`, when a newer one about the same replaces it or says that it is over, when its incident is
closed. Who reads asks its own clock whether a fact to come holds by now.

What is posted under one key, and in which order, depends on the panes alone: written again after a restart it is the
same again, and the compacted topic ends as it was.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pipeline.correlation.facts import TELLING, is_ended_by, is_over
from schemas.incidents import Incident
from schemas.resources import scope_of
from schemas.signals import Fact

STATES = ("deploy", "scale", "config")  # the newest of each resource is its state, until there is a newer one
MOST_POSTED = 10_000  # per tenant; of more the oldest are taken down
NEVER_DUE = 1 << 62
Subject = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Posting:
    """A record of `facts.v1`; without a fact it takes down what stands under the key."""

    key: str
    fact: Fact | None


@dataclass(slots=True)
class Board:
    """What is posted, by what it is about; and what will end a fact without being one, until it does."""

    about: dict[Subject, tuple[Fact, ...]] = field(default_factory=dict)
    size: int = 0
    due: int = NEVER_DUE  # when something posted ends next

    def advance(self, now: int) -> list[Posting]:
        """Nothing new up to `now`: take down what has ended by then, in the order of the ends."""
        if now < self.due:
            return []
        ended = [fact for subject in list(self.about) for fact in self._settle(subject, now)]
        self.due = min((_next_change(facts, now) for facts in self.about.values()), default=NEVER_DUE)
        return [Posting(key_of(fact), None) for fact in sorted(ended, key=lambda fact: (_end(fact, now), key_of(fact)))]

    def apply(self, now: int, facts: Iterable[Fact], incidents: Iterable[Incident]) -> list[Posting]:
        """What was learned in a pane that ends at `now`, and what was said of incidents in it, in order."""
        out: list[Posting] = []
        for fact in sorted(facts, key=lambda fact: (fact.event_time, fact.fact_id)):
            if fact.kind in (*TELLING, *STATES, "dependency"):
                out += self._learn(fact, now)
        for incident in incidents:
            out += self._hear(incident)
        return out

    def _learn(self, fact: Fact, now: int) -> list[Posting]:
        subject = _subject(fact)
        known = self.about.get(subject, ())
        if fact.kind == "dependency" and known:
            return []  # said again: the same edge
        others = tuple(other for other in known if other.fact_id != fact.fact_id)
        self._put(subject, (*others, fact))
        ended = {key_of(gone): Posting(key_of(gone), None) for gone in self._settle(subject, now)}
        out = [posting for key, posting in ended.items() if key != key_of(fact)]
        if fact in self.about.get(subject, ()):
            self.due = min(self.due, _next_change(self.about[subject], now))
            if not is_over(fact):
                out.append(Posting(key_of(fact), fact))
        elif len(others) < len(known):
            out.append(Posting(key_of(fact), None))  # it was posted, and what is said of it now is that it is over
        return out + self._make_room()

    def _hear(self, incident: Incident) -> list[Posting]:
        fact = _of_incident(incident)
        if fact is None:
            return []
        subject = _subject(fact)
        known = self.about.get(subject, ())
        if incident.status == "open":
            if known and known[0] == fact:
                return []
            self._put(subject, (fact,))
            moved = [Posting(key_of(known[0]), None)] if known and key_of(known[0]) != key_of(fact) else []
            return [*moved, Posting(key_of(fact), fact), *self._make_room()]
        self._put(subject, ())
        return [Posting(key_of(gone), None) for gone in known]

    def _settle(self, subject: Subject, now: int) -> list[Fact]:
        """Drop what has ended; returns those of it that were posted."""
        facts = self.about[subject]
        in_force = [fact for fact in facts if fact.valid_from <= now]
        gone = [
            fact
            for fact in facts
            if (fact.valid_until is not None and fact.valid_until <= now)
            or (is_over(fact) and fact.valid_from <= now)
            or any(is_ended_by(fact, other) for other in in_force)
        ]
        if gone:
            self._put(subject, tuple(fact for fact in facts if fact not in gone))
        return [fact for fact in gone if not is_over(fact)]

    def _put(self, subject: Subject, facts: tuple[Fact, ...]) -> None:
        self.size += len(facts) - len(self.about.get(subject, ()))
        if facts:
            self.about[subject] = facts
        else:
            self.about.pop(subject, None)

    def _make_room(self) -> list[Posting]:
        if self.size <= MOST_POSTED:
            return []
        every = ((subject, fact) for subject, facts in self.about.items() for fact in facts)
        subject, oldest = min(every, key=lambda found: (found[1].event_time, found[1].fact_id))
        self._put(subject, tuple(fact for fact in self.about[subject] if fact is not oldest))
        return [] if is_over(oldest) else [Posting(key_of(oldest), None)]


def key_of(fact: Fact) -> str:
    """tenant/scope/fact_id; a resource outside of any scope stands for its scope."""
    return f"{fact.tenant}/{scope_of(fact.resource) or fact.resource}/{fact.fact_id}"


def _subject(fact: Fact) -> Subject:
    """What a newer fact must be about to replace this one; of dependencies and incidents each stands for itself."""
    own = {"dependency": fact.value or "", "incident": fact.fact_id}
    return fact.kind, "" if fact.kind == "incident" else fact.resource, own.get(fact.kind, "")


def _next_change(facts: tuple[Fact, ...], now: int) -> int:
    """When one of these ends next: at its own end, or when another one begins."""
    ends = [fact.valid_until for fact in facts if fact.valid_until is not None]
    return min([*ends, *(fact.valid_from for fact in facts if fact.valid_from > now)], default=NEVER_DUE)


def _end(fact: Fact, now: int) -> int:
    return fact.valid_until if fact.valid_until is not None else now


def _of_incident(incident: Incident) -> Fact | None:
    """An incident as a fact of its namespace; None where it has no place."""
    if incident.scope is None or "/" not in incident.scope:
        return None
    fact = Fact(
        tenant=incident.tenant,
        fact_id=incident.incident_id,
        kind="incident",
        resource=f"{incident.scope}/namespace/{incident.scope.split('/')[1]}",
        event_time=incident.detected_at,
        published_time=incident.detected_at,
        valid_from=incident.started_at,
        source="aftermath",
        reason=incident.kind,
        severity="normal" if incident.severity == "info" else "warning",
        message=incident.title,
    )
    return replace(fact, session_id=incident.session_ids[0]) if len(incident.session_ids) == 1 else fact
