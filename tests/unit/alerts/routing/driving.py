"""Drives outbox and router as the notify stage does, without Kafka: time is turned by hand, records are kept.

A receiver folds what it had already by the message's id, as ours do. A restart loses everything but the records; one
that happens in the middle of a message loses what comes after.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from alerts.outbox import Notification, Outbox
from alerts.routing.files import Routes
from alerts.routing.mutes import Silence
from alerts.routing.restoring import restore
from alerts.routing.router import Message, Router
from alerts.rules import Rule
from schemas.codecs.single import encode_incident
from schemas.incidents import Incident

SECOND = 1_000_000
MINUTE = 60 * SECOND


def a_rule(name: str = "any", **changes: object) -> Rule:
    """A rule of every incident of some kinds."""
    kinds = ["feedback_loop", "agent_caused_failure", "infrastructure_failure", "telemetry_gap"]
    fixed = {
        "id": name,
        "title": name,
        "mode": "page",
        "runbook": "docs/x.md",
        "owner": "team",
        "when": {"kind": kinds},
    }
    return Rule.model_validate(fixed | changes)


@dataclass(frozen=True)
class Sent:
    """One message as its receiver shows it."""

    at: int
    receiver: str
    thread: str
    transition: str
    firing: frozenset[str]
    resolved: frozenset[str]


@dataclass
class Driver:
    """One worker."""

    routes: Routes | None
    rules: Sequence[Rule] = field(default_factory=lambda: [a_rule()])
    silences: list[Silence] = field(default_factory=list)
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    kept: dict[str, Notification] = field(default_factory=dict)  # the compacted topic
    reasons: list[tuple[str, str]] = field(default_factory=list)  # incident and reason, as they were recorded
    sent: list[Sent] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    now: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process: what it knows is what was kept."""
        self.router = Router(self.routes, self.rules)
        self.outbox = Outbox(self.rules, self.router.destinations)
        for record in self.kept.values():
            self.outbox.restore(record.as_record())
        for silence in self.silences:
            self.router.silence(silence)
        for tenant, incident_id in self.acknowledged:
            self.router.acknowledge(tenant, incident_id)
        restore(self.router, self.outbox, {0}, self.now)

    def take(self, incident: Incident) -> None:
        """A revision arrives."""
        self.router.renew(incident)
        for decided in self.outbox.decide(incident):
            held = self.router.take(replace(decided, partition=0), incident, self.now)
            if held is not None:
                self._keep(held, incident)

    def turn(self, now: int, crashes_at: int | None = None) -> None:
        """The clock moves; whatever is due is sent. `crashes_at` counts the steps of this turn after which it ends."""
        self.now = now
        steps = 0
        flush = self.router.flush(now)
        for record, incident in flush.records:
            self._keep(record, incident)
            self.reasons.append((record.incident_id, record.reason))
        for message in flush.messages:
            for record, incident in message.changes:
                if steps == crashes_at:
                    return self.restart()
                steps += 1
                self._keep(replace(record, state="pending", message=message.message_id), incident)
            if steps == crashes_at:
                return self.restart()
            steps += 1
            self._receive(message)
            if steps == crashes_at:
                return self.restart()
            done = [replace(record, state="sent", reason="", told_at=now) for record, _ in message.changes]
            for record, (_, incident) in zip(done, message.changes, strict=True):
                self._keep(record, incident)
            if not message.changes:
                for record, incident in message.alerts:
                    self._keep(replace(record, told_at=now), incident)
            self.router.told(message, now, done)
        return None

    def _receive(self, message: Message) -> None:
        lead, _ = message.lead
        if lead.dedup_key in self.ids:
            return
        self.ids.add(lead.dedup_key)
        ids = {
            word: frozenset(one.incident_id for one, _ in message.alerts if one.transition == word)
            for word in ("firing", "resolved")
        }
        self.sent.append(Sent(self.now, lead.receiver, lead.thread, lead.transition, ids["firing"], ids["resolved"]))

    def _keep(self, record: Notification, incident: Incident) -> None:
        is_over = record.state == "dropped" or (record.state == "sent" and record.transition == "resolved")
        kept = replace(record, incident=b"" if is_over else encode_incident(incident))
        self.kept[record.dedup_key] = kept
        self.outbox.record(kept)
