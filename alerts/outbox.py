"""The outbox: what is to be told to whom, and what has been told already.

A revision of an incident comes in (`decide`), notifications that are not yet sent come out; whoever sends
them tells how it went (`record`). No clock, no network, no Kafka: the stage keeps the records in
`notifications.v1` and gives them back after a restart (`restore`).

What is told, for each rule that matches and each of its receivers:
- `firing`, once: at the first revision of the incident that matches, provisional ones too (waiting for the
  last source may take longer than the outage). Later revisions do not repeat it. If a revision changes the
  incident so that another rule matches, that rule fires too: a ticket becomes a page. The rule that fired
  before is not taken back.
- `resolved`, once: when an incident that was told is resolved or withdrawn, also if its rule was removed
  meanwhile.
- An incident that is over when a rule first matches it (a backlog; a page that failed until then) is told as
  `firing` and then `resolved`: something did break, and in doubt we send. If it was withdrawn, nothing is
  told of it, unless a `firing` may have left: then `resolved` follows, because a receiver might still show it
  as open.

In doubt, send: only `sent` counts as told. What is pending (we stopped between sending and keeping it) or
failed is decided again, also when its rule no longer matches, with the same dedup key; the receiver folds
what it had already. What routing holds back for a time is `held`, and decided again too; what was over before
it was told is `dropped`, for good (alerts/routing). An incident that is opened again after it was resolved is
not told again: the key is the same, so a receiver would drop it; correlate gives a new problem a new incident.

Memory: about 500 bytes for each incident and receiver, until `expire` drops the old ones.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from alerts.labels import labels_of
from alerts.plain_text import plain
from alerts.rules.history import History
from alerts.rules.model import SHADOW, Mode, Rule, in_force, matching
from schemas.errors import AftermathError
from schemas.incidents import SEVERITIES, Incident, Severity
from schemas.signals import compact_json, stable_hash

Transition = Literal["firing", "resolved"]
State = Literal["pending", "held", "failed", "dropped", "sent"]
DONE = ("sent", "dropped")
NO_LONGER = "no_longer"  # dropped while it was held, because its rule matched no more: it may match again
TITLE_LENGTH = 500
RESOLVED = "Resolved: "  # before the title of the end
CHOICES: Mapping[str, tuple[str, ...]] = {
    "mode": get_args(Mode),
    "transition": get_args(Transition),
    "severity": SEVERITIES,
    "state": get_args(State),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message to one receiver; the fields of the newest `schemas/avro/notification.v*.avsc`."""

    dedup_key: str
    tenant: str
    incident_id: str
    revision: int
    rule: str
    mode: Mode
    transition: Transition
    receiver: str
    severity: Severity
    state: State
    at: int
    title: str
    detail: str = ""
    labels: str = "{}"  # JSON, see alerts/labels.py; those of the beginning, until the end
    reference: str = ""
    partition: int = -1
    group: str = ""
    message: str = ""
    reason: str = ""
    told_at: int = 0
    incident: bytes = field(default=b"", repr=False)

    @property
    def label_map(self) -> dict[str, str]:
        """The labels as they are matched."""
        found: dict[str, str] = json.loads(self.labels)
        return found

    @property
    def thread(self) -> str:
        """The same from an alert's beginning to its end: by it a receiver knows what to update and to close."""
        return self.group or stable_hash("thread", self.rule, self.incident_id, self.receiver)

    def as_record(self) -> dict[str, Any]:
        """The record as it is written to `notifications.v1`."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Notification":
        """The notification of a record; unknown fields are ignored. Raises AftermathError if it is none."""
        values = {item.name: record[item.name] for item in fields(cls) if item.name in record}
        for item in fields(cls):
            wanted = (
                int
                if item.name in ("revision", "at", "partition", "told_at")
                else bytes
                if item.name == "incident"
                else str
            )
            if item.default is not MISSING and item.name not in values:
                continue
            if not isinstance(values.get(item.name), wanted):
                raise AftermathError(f"notifications.v1 has a record without a usable {item.name}; is it ours?")
            if item.name in CHOICES and values[item.name] not in CHOICES[item.name]:
                allowed = ", ".join(CHOICES[item.name])
                raise AftermathError(
                    f"notifications.v1 has a record whose {item.name} is not one of {allowed};"
                    " was it written by a newer version?"
                )
        return cls(**values)


def dedup_key(rule: str, incident_id: str, receiver: str, transition: Transition) -> str:
    """The same for the same thing told to the same receiver, in every process and after every restart."""
    return stable_hash("notification", rule, incident_id, receiver, transition)


Destinations = Callable[[Rule, Mapping[str, str]], Sequence[str]]  # of an alert, by its rule and its labels


@dataclass(slots=True)
class _Told:
    """What is known of one incident: its newest revision, and the newest record for each thing told."""

    newest: int = -1
    updated_at: int = 0
    records: dict[tuple[str, str, Transition], Notification] = field(default_factory=dict)

    def is_done(self, rule: str, receiver: str, transition: Transition) -> bool:
        record = self.records.get((rule, receiver, transition))
        return record is not None and record.state in DONE and record.reason != NO_LONGER

    def labels(self, rule: str) -> dict[str, str] | None:
        """Those that this rule's alert fired with."""
        return next((record.label_map for (name, _, _), record in self.records.items() if name == rule), None)

    def owes_firing(self, rule: str, receiver: str, is_matched: bool) -> bool:
        """Whether it is to be told: it matches, or did and could not be sent."""
        if self.is_done(rule, receiver, "firing"):
            return False
        record = self.records.get((rule, receiver, "firing"))
        return is_matched or (record is not None and record.state in ("pending", "failed"))

    @property
    def is_settled(self) -> bool:
        """Whether everything that was told has also been resolved."""
        return all(
            self.is_done(rule, receiver, "resolved") or record.state == "dropped"
            for (rule, receiver, _), record in self.records.items()
        )


class Outbox:
    """Decides what is sent. One for each partition of `incidents.v1`; not safe for several threads."""

    def __init__(self, rules: Sequence[Rule], destinations: Destinations | None = None) -> None:
        self.rules = tuple(rules)
        self._destinations = destinations or (lambda rule, _: rule.destinations())
        self._told: dict[tuple[str, str], _Told] = {}
        self._history = History(self.rules)

    def use(self, rules: Sequence[Rule]) -> None:
        """Go by these rules from now on; `note` earlier incidents again where one `looks_back`."""
        self.rules = tuple(rules)
        self._history = History(self.rules)

    @property
    def looks_back(self) -> bool:
        """Whether a rule asks for incidents that came before: `note` them after a restart."""
        return self._history.is_needed

    def note(self, incident: Incident) -> None:
        """A revision that was decided already."""
        self._history.note(incident)

    def lapsed(self, incident: Incident) -> list[Notification]:
        """What is held of this incident though its rule matches it no more; asked after `decide`."""
        told = self._told.get((incident.tenant, incident.incident_id))
        if told is None or incident.status != "open" or incident.revision < told.newest:
            return []
        rules = in_force(self.rules, incident.updated_at)
        matched = {rule.id for rule in matching(rules, incident, self._history.holds)}
        return [
            record
            for (rule, _, transition), record in told.records.items()
            if transition == "firing" and record.state == "held" and rule not in matched
        ]

    def renewed(self, incident: Incident, receivers: Collection[str]) -> list[Notification]:
        """What these receivers show of this incident that a later revision says otherwise; asked after `decide`.

        Title and severity count, of what was told by itself: a group's message is not one alert's to change. Nobody
        is told again: whoever looks sees what is known now.
        """
        told = self._told.get((incident.tenant, incident.incident_id))
        if told is None or incident.status != "open" or incident.revision < told.newest:
            return []
        rules = {rule.id: rule for rule in in_force(self.rules, incident.updated_at)}
        found = []
        for (name, receiver, transition), record in told.records.items():
            if transition != "firing" or record.state != "sent" or record.group or receiver not in receivers:
                continue
            if name not in rules or told.is_done(name, receiver, "resolved"):
                continue
            one = _notification(rules[name], receiver, "firing", incident, record.label_map)
            if (one.title, one.severity) != (record.title, record.severity):
                found.append(replace(one, reference=record.reference, partition=record.partition))
        return found

    def restore(self, record: Mapping[str, Any]) -> None:
        """Take back what an earlier run kept: a record of `notifications.v1`; call in offset order."""
        self.record(Notification.from_record(record))

    def record(self, notification: Notification) -> None:
        """Note how it went. What was sent once stays sent: a second worker that failed does not undo it."""
        told = self._told.setdefault((notification.tenant, notification.incident_id), _Told())
        told.newest = max(told.newest, notification.revision)
        told.updated_at = max(told.updated_at, notification.at)
        is_done = told.is_done(notification.rule, notification.receiver, notification.transition)
        if notification.state == "sent" or not is_done:
            told.records[notification.rule, notification.receiver, notification.transition] = notification

    def decide(self, incident: Incident) -> list[Notification]:
        """What is to be sent now, in this order, each in state pending.

        Where a `firing` and its `resolved` are decided together, send the second only when the first was sent: an
        end must not overtake its beginning. What was left out is decided again.
        What was decided counts as possibly sent, so that an end which arrives while its beginning is under way is told
        as well. Asked twice it answers the same; an older revision than the newest one seen changes nothing.
        """
        told = self._told.setdefault((incident.tenant, incident.incident_id), _Told())
        if incident.revision < told.newest:
            return []
        told.newest = incident.revision
        self._history.note(incident)
        told.updated_at = max(told.updated_at, incident.updated_at)
        decided: list[Notification] = []
        if incident.status != "withdrawn":
            rules = in_force(self.rules, incident.updated_at)
            matched = {rule.id for rule in matching(rules, incident, self._history.holds)}
            for rule in rules:
                if rule.id not in matched and told.labels(rule.id) is None:
                    continue
                labels = told.labels(rule.id) or _labels(rule, incident)
                decided += [
                    _notification(rule, receiver, "firing", incident, labels)
                    for receiver in self._destinations(rule, labels)
                    if told.owes_firing(rule.id, receiver, rule.id in matched)
                ]
        if incident.status != "open":
            decided += self._resolved(told, incident, decided)
        for one in decided:
            told.records.setdefault((one.rule, one.receiver, one.transition), one)
        return decided

    def _resolved(self, told: _Told, incident: Incident, firing: Sequence[Notification]) -> list[Notification]:
        """One for each firing that was sent, may have been sent, or is sent just before."""
        opened = {
            (record.rule, record.receiver): record
            for record in (*told.records.values(), *firing)
            if record.transition == "firing" and record.state != "dropped"
        }
        rules = {rule.id: rule for rule in in_force(self.rules, incident.updated_at)}
        decided = []
        for (name, receiver), record in opened.items():
            if told.is_done(name, receiver, "resolved"):
                continue
            rule = rules.get(name)
            if rule is not None and receiver in self._destinations(rule, record.label_map):
                found = _notification(rule, receiver, "resolved", incident, record.label_map)
                decided.append(replace(found, reference=record.reference))
            else:  # the rule has changed since: close what it opened, in its own words
                decided.append(_closing(record, incident))
        return decided

    def records(self) -> list[Notification]:
        """The newest record of everything that is remembered."""
        return [record for told in self._told.values() for record in told.records.values()]

    def open_ones(self) -> list[Notification]:
        """What was told to be firing and not yet to be over."""
        return [
            record
            for told in self._told.values()
            for (rule, receiver, transition), record in told.records.items()
            if transition == "firing" and record.state == "sent" and not told.is_done(rule, receiver, "resolved")
        ]

    def expire(self, before: int) -> list[Notification]:
        """Forget incidents last heard of before this event time that have nothing left to be told; their records.

        `before` must be older than the retention of `incidents.v1`: a revision read again after that is told
        again. The records are no longer needed in `notifications.v1` either.
        """
        old = [key for key, told in self._told.items() if told.updated_at < before and told.is_settled]
        return [record for key in old for record in self._told.pop(key).records.values()]

    def __len__(self) -> int:
        """How many incidents are remembered."""
        return len(self._told)


def _labels(rule: Rule, incident: Incident) -> dict[str, str]:
    severity, owner = rule.severity_of(incident), incident.owner or rule.owner
    return labels_of(incident, rule=rule.id, mode=rule.mode, severity=severity, owner=owner, more=rule.labels)


def _notification(
    rule: Rule, receiver: str, transition: Transition, incident: Incident, labels: Mapping[str, str]
) -> Notification:
    title = rule.annotate(incident).get("summary") or incident.title
    return Notification(
        dedup_key=dedup_key(rule.id, incident.incident_id, receiver, transition),
        tenant=incident.tenant,
        incident_id=incident.incident_id,
        revision=incident.revision,
        rule=rule.id,
        mode=rule.mode,
        transition=transition,
        receiver=receiver,
        severity=rule.severity_of(incident),
        state="pending",
        at=incident.updated_at,
        title=plain(_over(transition, incident) + title, TITLE_LENGTH),
        labels=compact_json(dict(labels)),
    )


def _closing(opened: Notification, incident: Incident) -> Notification:
    return replace(
        opened,
        dedup_key=dedup_key(opened.rule, opened.incident_id, opened.receiver, "resolved"),
        revision=incident.revision,
        transition="resolved",
        state="pending",
        at=incident.updated_at,
        title=plain(_over("resolved", incident) + incident.title, TITLE_LENGTH),
        detail="",
        message="",
        reason="",
        incident=b"",
    )


def _over(transition: Transition, incident: Incident) -> str:
    """What stands before the title where the incident is over."""
    if transition == "resolved":
        return "Withdrawn: " if incident.status == "withdrawn" else RESOLVED
    return "" if incident.status == "open" else "Already over: "


__all__ = ["RESOLVED", "SHADOW", "Notification", "Outbox", "State", "Transition", "dedup_key"]
