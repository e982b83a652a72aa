"""The events of one Kubernetes namespace with a crash loop (replicatedhq/sbctl, Apache-2.0)."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.converters.files import Event, data_set, main, without_nulls
from schemas.times import parse_time

TENANT = "k8s-events"
CLUSTER = "troubleshoot-demo"
REPLICAS = re.compile(r" to (\d+)(?: from (\d+))?$")


def convert(folder: Path) -> Iterator[Event]:
    """67 events, in the order of event time."""
    items = json.loads((data_set(folder, "k8s_events") / "velero.json").read_text())["items"]
    yield from sorted(
        (cluster_event(item) for item in items), key=lambda event: (event["event_time"], event["event_id"])
    )


def cluster_event(item: Mapping[str, Any]) -> Event:
    """One event of the Kubernetes API. A repeated one keeps its uid and raises its count: both make the id."""
    about, count = item["involvedObject"], item.get("count") or 1
    moment = item.get("lastTimestamp") or item.get("eventTime") or item["metadata"]["creationTimestamp"]
    first = item.get("firstTimestamp")
    is_scale = item["reason"] == "ScalingReplicaSet"
    replicas = REPLICAS.search(item["message"]) if is_scale else None
    return without_nulls(
        {
            "type": "cluster_event",
            "event_time": parse_time(moment),
            "tenant": TENANT,
            "event_id": f"{item['metadata']['uid']}-{count}",
            "resource": f"{CLUSTER}/{about['namespace']}/{about['kind'].lower()}/{about['name']}",
            "kind": "scale" if is_scale else "kubernetes",
            "reason": item["reason"],
            "severity": "warning" if item["type"] == "Warning" else "normal",
            "actor": item["source"].get("component") or item.get("reportingComponent") or None,
            "actor_kind": "controller",
            "valid_from": parse_time(first) if first else None,
            "value": replicas[1] if replicas else None,
            "previous_value": replicas[2] if replicas else None,
            "count": count,
            "message": item["message"],
        }
    )


if __name__ == "__main__":
    main(convert, __doc__ or "")
