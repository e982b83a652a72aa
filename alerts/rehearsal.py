"""A rehearsal: revisions of incidents and their times in, what would be told out. Pure: the clock is turned by hand.

By the very outbox and router that run live, with receivers that take everything at once. For the stories inside rule
files, and for `aftermath rules backtest`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from alerts.outbox import Notification, Outbox
from alerts.routing.files import Routes
from alerts.routing.router import Message, Router
from alerts.rules.model import SHADOW, Rule
from schemas.incidents import Incident

AFTERWARDS = 86_400_000_000  # what is held is waited for so long after the last revision


@dataclass(frozen=True, slots=True)
class Heard:
    """One alert, as a receiver hears of it. Repetitions are none."""

    at: int
    rule: str
    mode: str
    receiver: str
    transition: str
    incident_id: str
    title: str


class Rehearsal:
    """Revisions in the order of their times."""

    def __init__(self, rules: Sequence[Rule], routes: Routes | None = None) -> None:
        self.heard: list[Heard] = []
        self._is_routed = routes is not None
        self._rules = {rule.id: rule for rule in rules}
        self._router = Router(routes, rules)
        self._outbox = Outbox(rules, self._router.destinations)

    def take(self, incident: Incident) -> None:
        """A revision arrives at its own time."""
        now = incident.updated_at
        self._advance(now)
        self._router.renew(incident)
        decided = self._outbox.decide(incident)
        for record in self._outbox.lapsed(incident):
            if (lapsed := self._router.lapse(record)) is not None:
                self._outbox.record(lapsed)
        for notification in decided:
            if not needs_router(self._rules[notification.rule], notification, is_routed=self._is_routed):
                self._hear(notification, now)
                self._outbox.record(replace(notification, state="sent"))
            elif (held := self._router.take(notification, incident, now)) is not None:
                self._outbox.record(held)
        self._flush(now)

    def finish(self, upto: int | None = None) -> list[Heard]:
        """Nothing more happens up to this time: what is told by then."""
        self._advance(upto)
        return self.heard

    def _advance(self, upto: int | None) -> None:
        while (due := self._router.next_due()) is not None and (upto is None or due <= upto):
            self._flush(due)

    def _flush(self, now: int) -> None:
        flush = self._router.flush(now)
        for record, _ in flush.records:
            self._outbox.record(record)
        for message in flush.messages:
            self._tell(message, now)

    def _tell(self, message: Message, now: int) -> None:
        done = [replace(record, state="sent", reason="", told_at=now) for record, _ in message.changes]
        for record in done:
            self._hear(record, now)
            self._outbox.record(record)
        self._router.told(message, now, done)

    def _hear(self, one: Notification, now: int) -> None:
        self.heard.append(Heard(now, one.rule, one.mode, one.receiver, one.transition, one.incident_id, one.title))


def needs_router(rule: Rule | None, notification: Notification, *, is_routed: bool) -> bool:
    """Whether an alert is told by the router: where there are routes, or where its rule waits for a clock."""
    return (is_routed and notification.receiver != SHADOW) or (rule is not None and rule.is_timed)


def rehearse(rules: Sequence[Rule], revisions: Iterable[Incident], routes: Routes | None = None) -> list[Heard]:
    """What would be told of these revisions, until a day after the last."""
    rehearsal, last = Rehearsal(rules, routes), 0
    for incident in sorted(revisions, key=lambda one: (one.updated_at, one.incident_id, one.revision)):
        rehearsal.take(incident)
        last = incident.updated_at
    return rehearsal.finish(last + AFTERWARDS)
