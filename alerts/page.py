"""What a page says, line by line, for a person who has just been woken.

What broke and where, what did it, what the agent did not know, what it burned, where to go on. Every line
comes from the numbers of the incident; a line without a number is left out. Never money. Receivers put these
lines into their own form.
"""

from collections.abc import Iterator

from alerts.outbox import Notification
from alerts.plain_text import plain
from alerts.rules.fields import NO_GAP, number_text
from alerts.rules.model import Rule
from schemas.incidents import Incident
from schemas.times import format_span, format_time

FEW = 3  # entries of a list that are shown; the rest is counted


def headline(notification: Notification) -> str:
    """PAGE critical FIRING, or TICKET warning RESOLVED: how loud, and whether it begins or ends."""
    return f"{notification.mode.upper()} {notification.severity} {notification.transition.upper()}"


def lines(notification: Notification, incident: Incident, rule: Rule | None = None) -> list[tuple[str, str]]:
    """Pairs of a label and its text, made harmless (`plain_text`), in the order they are read."""
    return [(label, plain(text)) for label, text in _lines(notification, incident, rule) if text]


def _lines(notification: Notification, incident: Incident, rule: Rule | None) -> Iterator[tuple[str, str]]:
    yield "where", incident.scope or ""
    yield "agent", " ".join(filter(None, (incident.agent_id, incident.agent_version)))
    yield "since", _since(incident)
    cause = incident.attribution
    if cause.verdict != "undetermined":
        yield "cause", f"{cause.verdict}, {cause.probability:.0%}"
    if cause.ranked:
        first = cause.ranked[0]
        resource = f" on {first.resource}" if first.resource else ""
        yield (
            "first",
            f"{first.kind}{resource} at {format_time(first.event_time)}; {first.shows}".rstrip("; "),
        )
    yield (
        "did not know",
        _few([f"{gap.resource} ({gap.class_})" for gap in incident.context_gaps if gap.class_ not in NO_GAP]),
    )
    yield "missing limit", _few([f"{gap.gap} ({gap.component})" for gap in incident.governance_gaps])
    yield "hit", _few([hit.resource for hit in incident.blast_radius])
    if incident.exhaustion is not None:
        burned = incident.exhaustion
        yield (
            "burned",
            (
                f"{number_text(burned.calls_percent_of_expected)}% of the calls needed, "
                f"{number_text(burned.unplanned_tokens)} unplanned tokens"
            ),
        )
    yield "what", incident.summary
    yield "incident", f"{incident.incident_id}, revision {notification.revision}{_provisional(incident)}"
    yield "rule", notification.rule
    if rule is not None:
        yield "owner", incident.owner or rule.owner
        yield "runbook", rule.runbook


def _since(incident: Incident) -> str:
    if incident.resolved_at is None:
        return format_time(incident.started_at)
    return f"{format_time(incident.started_at)}, for {format_span(incident.resolved_at - incident.started_at)}"


def _provisional(incident: Incident) -> str:
    return ", provisional: a source has not spoken yet" if incident.provisional else ""


def _few(entries: list[str]) -> str:
    more = f" and {len(entries) - FEW} more" if len(entries) > FEW else ""
    return ", ".join(entries[:FEW]) + more
