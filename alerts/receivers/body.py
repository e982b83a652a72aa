"""The body of a webhook: what happened as JSON, below a size, and honest about what was left out.

    {"type": "incident.firing", "timestamp": ...,
     "data": {"notification": {...}, "rule": {...}, "incident": {...}, "truncated": ["evidence"]}}

The timestamp is the event time of the revision: the body depends on what happened alone and is the same in
every attempt.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from alerts.outbox import Notification
from alerts.page import Told
from alerts.rules.model import Rule
from schemas.incidents import Incident
from schemas.times import format_time

# cut first what a page needs least; the lists keep their first entries
LISTS = ("evidence", "session_ids", "blast_radius", "governance_gaps", "context_gaps")
KEPT = 5
ALWAYS = (
    "incident_id",
    "revision",
    "tenant",
    "kind",
    "status",
    "severity",
    "title",
    "scope",
    "agent_id",
    "started_at",
)
TOLD = (
    "dedup_key",
    "tenant",
    "incident_id",
    "revision",
    "rule",
    "mode",
    "transition",
    "receiver",
    "severity",
    "at",
    "title",
)
LONG_TEXT = 1_000
SHORT_TEXT = 80
TRUNCATED = "truncated"


def body_of(
    notification: Notification, incident: Incident, rule: Rule | None, max_bytes: int, others: Told = ()
) -> bytes:
    """The bytes to send, at most `max_bytes` (16,000 or more) of UTF-8. `others`: what is told with it, by title."""
    told = {name: getattr(notification, name) for name in TOLD}
    data: dict[str, Any] = {
        "notification": told | {"at": format_time(notification.at)},
        "rule": None if rule is None else {"title": rule.title, "runbook": rule.runbook, "owner": rule.owner},
        "incident": incident.model_dump(mode="json", by_alias=True),
        "with_it": [_other(*other) for other in others],
        TRUNCATED: [],
    }
    message = {
        "type": f"incident.{notification.transition}",
        "timestamp": format_time(notification.at),
        "data": data,
    }
    for smaller in _ever_smaller(data):
        encoded = _encode({**message, "data": smaller})
        if len(encoded) <= max_bytes:
            return encoded
    return encoded


def _other(notification: Notification, incident: Incident) -> dict[str, str]:
    return {
        "incident_id": incident.incident_id,
        "transition": notification.transition,
        "severity": notification.severity,
        "title": notification.title,
    }


def _encode(value: Mapping[str, Any]) -> bytes:
    # a lone surrogate, which JSON can carry in and UTF-8 cannot carry out, becomes a question mark
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _ever_smaller(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The data whole, then with less and less of the incident; `truncated` names what is not complete."""
    yield data
    incident, cut = dict(data["incident"]), list[str]()
    if len(data["with_it"]) > KEPT:
        data = {**data, "with_it": [_clip(item, LONG_TEXT) for item in data["with_it"][:KEPT]]}
        cut.append("with_it")
        yield {**data, TRUNCATED: cut}
    for name in LISTS:
        if len(incident[name]) > KEPT:
            incident[name] = incident[name][:KEPT]
            cut.append(name)
            yield {**data, "incident": incident, TRUNCATED: cut}
    ranked = incident["attribution"]["ranked"]
    if len(ranked) > 1:
        incident["attribution"] = {**incident["attribution"], "ranked": ranked[:1]}
        cut.append("attribution.ranked")
        yield {**data, "incident": incident, TRUNCATED: cut}
    incident = _clip(incident, LONG_TEXT)
    yield {**data, "incident": incident, TRUNCATED: [*cut, "long texts"]}
    least = _clip({name: incident[name] for name in ALWAYS}, SHORT_TEXT)
    yield {
        **data,
        "notification": _clip(data["notification"], SHORT_TEXT),
        "incident": least,
        "with_it": _clip(data["with_it"][:KEPT], SHORT_TEXT),
        TRUNCATED: ["everything but identity and title"],
    }


def _clip(value: Any, length: int) -> Any:
    """The same shape with every text cut to a length."""
    if isinstance(value, str):
        return value if len(value) <= length else value[: length - 1] + "…"
    if isinstance(value, dict):
        return {key: _clip(item, length) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clip(item, length) for item in value]
    return value
