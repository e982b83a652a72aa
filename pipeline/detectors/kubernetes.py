"""Kubernetes symptoms: what a cluster's events say does not run, by reason and count, repeated ones folded.

A symptom is strong when it says that something does not run (crash loop, out of memory, eviction, no node to run on);
the others (a failed probe, a volume that mounts late) happen in healthy clusters and count only together, except where
one comes ten times, and once a minute or more. A resource and reason speaks once, then when its count has doubled or a
minute has passed. Events that nodes report as normal though they are not (a node not ready, a full disk) count as well.

The API keeps one object for events that repeat and raises its count; who ships them sends it again and again, some only
the first time, some twice. So counts are kept by object, and only what a count has risen by is added: the same count
again is the same event. An object is told by its id where the event's id is that and its count, as ours are, else by
when it was first seen.

rows    ClusterEvent rows of closed panes, ordered, with `pane`
memory  (tenant, resource, reason) -> Said; about 200 bytes and 100 an object, of eight; leaves after 1 h of silence
"""

from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from pipeline.core.evidence import reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from pipeline.core.rows import Rows
from pipeline.core.sessions import SessionIndex
from schemas.resources import scope_of
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MINUTE

KEEP = 60 * MINUTE
MOST_OBJECTS = 8
OFTEN = 10  # a weak symptom that comes so often, and once a minute or more, is strong
# what a symptom is called -> its reasons
KINDS = {
    "crash_loop": ("BackOff", "CrashLoopBackOff"),
    "out_of_memory": ("OOMKilling", "OOMKilled", "SystemOOM"),
    "eviction": ("Evicted", "EvictionThresholdMet", "Preempted", "Preempting"),
    "failed_scheduling": ("FailedScheduling",),
    "image_pull": ("ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InspectFailed"),
    "failed_start": ("Failed", "FailedCreate", "FailedPostStartHook", "FailedCreatePodSandBox"),
    "failed_job": ("DeadlineExceeded", "BackoffLimitExceeded"),
    "sick_node": (
        "NodeNotReady",
        "NodeHasInsufficientMemory",
        "NodeHasInsufficientPID",
        "NodeHasDiskPressure",
        "KernelDeadlock",
    ),
    "probe_failure": ("Unhealthy", "ProbeWarning"),
    "volume": ("FailedMount", "FailedAttachVolume", "FailedMapVolume"),
}
KIND_OF = {reason: kind for kind, reasons in KINDS.items() for reason in reasons}
WEAK = frozenset(["probe_failure", "volume"])
WEAK_REASONS = frozenset(["FailedPostStartHook", "FailedCreatePodSandBox", "Preempted", "Preempting", "InspectFailed"])
IN_ANY_SEVERITY = (*KINDS["sick_node"], "BackOff")  # nodes, and images that cannot be pulled, are told of as normal
IMAGES = ("pull", "image")  # what the message of a back-off, or of a failure, is about then
PROBES = ("liveness", "readiness", "startup")


@dataclass(slots=True)
class Said:
    """Occurrences seen and when it last spoke."""

    count: int = 0
    began: int = 0
    said_count: int = 0
    said_at: int = 0
    objects: dict[str, int] = field(default_factory=dict)  # event object -> its newest count; the last seen last

    def add(self, name: str, count: int) -> bool:
        """Count what this object has risen by; whether it has."""
        known = self.objects.pop(name, 0)
        self.objects[name] = max(known, count)
        while len(self.objects) > MOST_OBJECTS:
            del self.objects[next(iter(self.objects))]
        self.count += max(0, count - known)
        return count > known


def fresh(_: SessionIndex | None = None) -> Memory[tuple[str, str, str], Said]:
    """An empty memory."""
    return Memory(Said, KEEP)


def detect(rows: Rows, memory: Memory[tuple[str, str, str], Said], limits: Limits) -> list[Signal]:
    """Fold the symptoms of these panes; changes `memory`."""
    signals = []
    is_told = (pl.col("severity") == "warning") | pl.col("reason").is_in(IN_ANY_SEVERITY)
    found = rows.frame.filter(pl.col("kind") == "kubernetes", is_told)
    for row in found.iter_rows(named=True):
        reason = row["reason"] or "warning"
        said = memory.get((row["tenant"], row["resource"], reason), row["event_time"])
        if not said.add(_object(row), row["count"]):
            continue
        said.began = said.began or min(row["event_time"], row["valid_from"] or row["event_time"])
        if said.said_count and said.count < 2 * said.said_count and row["event_time"] - said.said_at < MINUTE:
            continue
        said.said_count, said.said_at = said.count, row["event_time"]
        signals.append(_signal(row, reason, said, rows.pane_size, limits))
    return signals


def _object(row: dict[str, Any]) -> str:
    """What names the object of the API that this event is of."""
    suffix = f"-{row['count']}"
    if row["event_id"].endswith(suffix):
        return str(row["event_id"]).removesuffix(suffix)
    return str(row["event_id"] if row["valid_from"] is None else row["valid_from"])


def kind_of_event(reason: str, message: str) -> str:
    """What the symptom is called; `kubernetes` where the reason is none that we know."""
    kind = KIND_OF.get(reason, "kubernetes")
    is_of_image = reason in ("BackOff", "Failed") and any(word in message.lower() for word in IMAGES)
    return "image_pull" if is_of_image else kind


def _is_strong(kind: str, reason: str, said: Said, at: int) -> bool:
    is_often = said.count >= OFTEN and said.count * MINUTE >= at - said.began
    is_weak = kind == "kubernetes" or kind in WEAK or reason in WEAK_REASONS
    return not is_weak or (kind == "probe_failure" and is_often)


def _signal(row: dict[str, Any], reason: str, said: Said, pane_size: int, limits: Limits) -> Signal:
    message = row["message"] or ""
    kind = kind_of_event(reason, message)
    is_strong = _is_strong(kind, reason, said, row["event_time"])
    shows = f"{reason}" + (f" x{said.count}" if said.count > 1 else "") + (f": {message[:160]}" if message else "")
    evidence = {
        "reason": reason,
        "count": said.count,
        "is_strong": is_strong,
        "node": _node(row["labels"]),
        "probe": next((probe for probe in PROBES if message.lower().startswith(probe)), None),
        "references": [
            reference(row, "cluster.events.v1", row["event_id"], shows, kind="symptom", resource=row["resource"])
        ],
    }
    return Signal(
        signal_id=stable_hash(row["tenant"], row["resource"], reason, row["event_time"], said.count),
        type=f"symptom.{kind}",
        tenant=row["tenant"],
        scope=scope_of(row["resource"]),
        resource=row["resource"],
        window_start=row["event_time"],
        window_end=row["event_time"],
        detected_at=row["pane"] + pane_size,
        score=float(said.count),
        severity="critical" if is_strong else "warning",
        summary=shows,
        evidence=compact_json(evidence),
        rule_version=limits.rule_version,
    )


def _node(labels: str | None) -> str | None:
    if not labels:
        return None
    try:
        found = orjson.loads(labels)
    except orjson.JSONDecodeError:
        return None
    node = found.get("node") if isinstance(found, dict) else None
    return node if isinstance(node, str) else None
