"""Events of the Kubernetes API -> ClusterEvent rows: core/v1 and events.k8s.io/v1, as anybody ships them.

The same stored object in two spellings. Its uid names the object, not the occurrence: a repetition updates it and
raises its count, so that uid and count make the event's id, and the row says how often it was seen so far. What a
controller announces about a roll-out (Argo, Flux, Helm) comes as an event of its own object and becomes a deploy.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from pipeline.ingest.resources import NO_NAMESPACE, NODE_SPACE, path, segment
from pipeline.ingest.telemetry import UnmappableError
from pipeline.ingest.values import json_text, name_of
from schemas.errors import Reason
from schemas.events import COUNT_LIMIT, TEXT_LENGTH
from schemas.times import EARLIEST, LATEST, parse_time

Row = dict[str, Any]
Found = Mapping[str, Any]

REPLICAS: Final = re.compile(r" to (\d+)(?: from (\d+))?\b")
SIZE: Final = re.compile(r"New size: (\d+)")
SCALES: Final = frozenset(["ScalingReplicaSet", "SuccessfulRescale"])
# kinds of objects whose controllers announce roll-outs
ROLLED_OUT: Final = frozenset(["Application", "ApplicationSet", "Rollout", "HelmRelease", "HelmChart", "Kustomization"])
TIMES: Final = ("lastTimestamp", "deprecatedLastTimestamp", "eventTime", "firstTimestamp", "deprecatedFirstTimestamp")

FIRST_TIMES: Final = (
    "firstTimestamp",
    "deprecatedFirstTimestamp",
    "eventTime",
)  # of the newer API the last: never moved


def is_event(found: Found) -> bool:
    """Whether an object is an event of the Kubernetes API."""
    return isinstance(found.get("involvedObject") or found.get("regarding"), dict) and "reason" in found


def cluster_event(found: Found, cluster: str, tenant: str) -> Row:
    """The row of one event. Raises UnmappableError where it has no time."""
    about = found.get("involvedObject") or found["regarding"]
    metadata, series = _dict(found, "metadata"), _dict(found, "series")
    reason, kind = name_of(found.get("reason")), segment(about.get("kind")) or "object"
    count = _count(series.get("count") or found.get("count") or found.get("deprecatedCount"))
    first = next((found[name] for name in FIRST_TIMES if found.get(name)), None)
    message = str(found.get("message") or found.get("note") or "")[:TEXT_LENGTH]
    source = _dict(found, "source") or _dict(found, "deprecatedSource")
    resource = path(
        segment(found.get("clusterName")) or cluster,
        NODE_SPACE if kind == "Node" else segment(about.get("namespace")) or NO_NAMESPACE,
        kind,
        segment(about.get("name")) or "unknown",
    )
    reporter = source.get("component") or found.get("reportingComponent") or found.get("reportingController")
    moment = series.get("lastObservedTime") or next((found[name] for name in TIMES if found.get(name)), None)
    row: Row = {
        "event_time": time_of(moment or metadata.get("creationTimestamp")),
        "tenant": tenant,
        "event_id": name_of(f"{metadata.get('uid') or metadata.get('name') or resource}-{count}"),
        "resource": resource,
        "kind": _kind(reason, kind),
        "reason": reason,
        "severity": "warning" if found.get("type") == "Warning" else "normal",
        "actor": name_of(reporter),
        "actor_kind": "controller",
        "valid_from": time_of(first) if first else None,
        "count": count,
        "message": message or None,
        "labels": _labels(about, source, found),
    }
    if reason in SCALES and (size := REPLICAS.search(message) or SIZE.search(message)):
        row["value"] = size[1]
        row["previous_value"] = size[2] if size.re is REPLICAS else None
    return row


def _kind(reason: str | None, kind: str) -> str:
    if reason in SCALES:
        return "scale"
    return "deploy" if kind in ROLLED_OUT else "kubernetes"


def _labels(about: Found, source: Found, found: Found) -> str | None:
    said = {
        "node": source.get("host"),
        "field": about.get("fieldPath"),
        "uid": about.get("uid"),
        "action": found.get("action"),
    }
    kept = {name: value for name, value in said.items() if isinstance(value, str) and value}
    return json_text(kept) if kept else None


def _dict(found: Found, name: str) -> Found:
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < COUNT_LIMIT else 1


def time_of(value: Any) -> int:
    """Microseconds of a time of the API. Raises UnmappableError."""
    try:
        found = parse_time(value)
    except (TypeError, ValueError, AttributeError):
        raise UnmappableError(Reason.WRONG_TYPE, f"a time of {str(value)[:40]!r}; the API writes RFC 3339") from None
    if not EARLIEST <= found < LATEST:
        raise UnmappableError(Reason.TIME_OUT_OF_RANGE, f"a time of {str(value)[:40]!r}; from 2000, before 2200")
    return found
