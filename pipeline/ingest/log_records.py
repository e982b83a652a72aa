"""OpenTelemetry logs -> ClusterEvent rows: those that tell of a cluster or of a change; all others are none of ours.

k8s_events receiver: the event is in attributes, its message in the body. k8sobjects receiver: the object is the body,
watched ones in `{type, object}`. Everything else (kubernetes-event-exporter, audit log, flags) is JSON in the body.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from pipeline.ingest import changes, kubernetes
from pipeline.ingest.resources import cluster_of
from pipeline.ingest.services import tenant_of
from pipeline.ingest.telemetry import LogRecord, UnmappableError
from schemas.codecs.nesting import is_too_deep
from schemas.codecs.single import UnreadableError
from schemas.times import EARLIEST, LATEST, format_time

Row = dict[str, Any]
Found = Mapping[str, Any]

MOST_ITEMS: Final = 10_000
# attributes of the k8s_events receiver -> the event's own field
EVENT_ATTRIBUTES: Final = {"k8s.event.reason": "reason", "k8s.event.action": "action", "k8s.event.count": "count"}

GO_TIME: Final = re.compile(r"(2[01]\d\d-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,9})?) ([+-]\d\d)(\d\d)\b")


def cluster_events(record: LogRecord, default_tenant: str, agents: Sequence[str]) -> list[Row]:
    """The rows of one log record. Raises UnmappableError where it is one of ours and cannot be read."""
    cluster = cluster_of(record.origin.resource, record.attributes)
    tenant = tenant_of(record.origin, default_tenant)
    if "k8s.event.reason" in record.attributes:
        return [kubernetes.cluster_event(_event_of_attributes(record), cluster, tenant)]
    rows: list[Row] = []
    for found in _objects(record.body):
        rows += rows_of(found, cluster, tenant, record.time, agents)
    return rows


def rows_of(found: Found, cluster: str, tenant: str, at: int, agents: Sequence[str]) -> Iterable[Row]:
    """The rows of one object, whatever it is. Raises UnmappableError."""
    try:
        if kubernetes.is_event(found):
            return [kubernetes.cluster_event(found, cluster, tenant)]
        if changes.is_audit(found):
            row = changes.audit_event(found, cluster, tenant, agents)
            return [] if row is None else [row]
        if changes.is_flag_change(found):
            return changes.flag_events(found, cluster, tenant, at)
        if changes.is_cdevent(found):
            row = changes.cdevent(found, cluster, tenant)
            return [] if row is None else [row]
        if found.get("type") == "cluster_event":
            return [changes.own_event({"tenant": tenant, **found})]
    except UnreadableError as error:
        raise UnmappableError(error.reason, error.detail) from None
    return []


def _objects(body: Any) -> Iterable[Found]:
    """The object of a body, or those of the list it is."""
    if isinstance(body, str):
        if not body.lstrip().startswith("{") or is_too_deep(body):
            return ()
        try:
            body = orjson.loads(body)
        except ValueError:
            return ()
    if not isinstance(body, dict):
        return ()
    if body.get("type") == "DELETED":
        return ()  # an event that has expired
    inner = body.get("object")
    if isinstance(inner, dict) and body.get("type") in ("ADDED", "MODIFIED"):
        body = inner
    items = body.get("items")
    if isinstance(items, list) and str(body.get("kind", "")).endswith("List"):
        return [item for item in items[:MOST_ITEMS] if isinstance(item, dict)]
    return (body,)


def _event_of_attributes(record: LogRecord) -> dict[str, Any]:
    """An event of the API, out of what the k8s_events receiver makes of it."""
    resource, attributes = record.origin.resource, record.attributes
    said = {ours: attributes[name] for name, ours in EVENT_ATTRIBUTES.items() if attributes.get(name) is not None}
    return said | {
        "involvedObject": {
            "kind": resource.get("k8s.object.kind"),
            "name": resource.get("k8s.object.name"),
            "uid": resource.get("k8s.object.uid"),
            "fieldPath": resource.get("k8s.object.fieldpath"),
            "namespace": attributes.get("k8s.namespace.name") or resource.get("k8s.namespace.name"),
        },
        "metadata": {"uid": attributes.get("k8s.event.uid"), "name": attributes.get("k8s.event.name")},
        "source": {"host": resource.get("k8s.node.name")},
        "message": record.body if isinstance(record.body, str) else "",
        "type": "Warning" if record.severity >= 13 else "Normal",
        "firstTimestamp": _rfc3339(attributes.get("k8s.event.start_time")),
        "lastTimestamp": format_time(record.time) if EARLIEST <= record.time < LATEST else None,
    }


def _rfc3339(value: Any) -> str | None:
    """A time as Go prints it (`2026-03-02 14:00:00 +0000 UTC`), as the API writes it; None where it is none."""
    found = GO_TIME.match(value) if isinstance(value, str) else None
    return f"{found[1]}T{found[2]}{found[3]}:{found[4]}" if found else None
