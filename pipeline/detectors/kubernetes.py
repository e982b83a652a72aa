"""Kubernetes symptoms: warnings of a cluster, repeated ones folded.

A warning is strong when it says that something does not run (crash loop, out of memory, eviction, node not ready); the
others (a failed probe, a volume that mounts late) happen in healthy clusters and count only together. A resource and
reason speaks once, then when its count has doubled or a minute has passed.

rows    ClusterEvent rows of closed panes, ordered, with `pane`
memory  (tenant, resource, reason) -> Said; about 200 bytes; leaves after 1 h of silence
"""

from dataclasses import dataclass

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
STRONG = frozenset(
    [
        "BackOff",
        "CrashLoopBackOff",
        "OOMKilling",
        "OOMKilled",
        "SystemOOM",
        "Evicted",
        "EvictionThresholdMet",
        "NodeNotReady",
        "Failed",
        "FailedScheduling",
        "FailedCreate",
        "NodeHasInsufficientMemory",
        "NodeHasDiskPressure",
        "KernelDeadlock",
        "ImagePullBackOff",
        "ErrImagePull",
        "DeadlineExceeded",
        "BackoffLimitExceeded",
    ]
)


@dataclass(slots=True)
class Said:
    """Occurrences seen and when it last spoke."""

    count: int = 0
    said_count: int = 0
    said_at: int = 0


def fresh(_: SessionIndex | None = None) -> Memory[tuple[str, str, str], Said]:
    """An empty memory."""
    return Memory(Said, KEEP)


def detect(rows: Rows, memory: Memory[tuple[str, str, str], Said], limits: Limits) -> list[Signal]:
    """Fold the warnings of these panes; changes `memory`."""
    signals = []
    warnings = rows.frame.filter(pl.col("kind") == "kubernetes", pl.col("severity") == "warning")
    for row in warnings.iter_rows(named=True):
        reason = row["reason"] or "warning"
        said = memory.get((row["tenant"], row["resource"], reason), row["event_time"])
        said.count = max(said.count + 1, row["count"])
        if said.said_count and said.count < 2 * said.said_count and row["event_time"] - said.said_at < MINUTE:
            continue
        said.said_count, said.said_at = said.count, row["event_time"]
        shows = f"{reason}" + (f" x{said.count}" if said.count > 1 else "")
        if row["message"]:
            shows += f": {row['message'][:160]}"
        signals.append(
            Signal(
                signal_id=stable_hash(row["tenant"], row["resource"], reason, row["event_time"], said.count),
                type="symptom.kubernetes",
                tenant=row["tenant"],
                scope=scope_of(row["resource"]),
                resource=row["resource"],
                window_start=row["event_time"],
                window_end=row["event_time"],
                detected_at=row["pane"] + rows.pane_size,
                score=float(said.count),
                severity="critical" if reason in STRONG else "warning",
                summary=shows,
                evidence=compact_json(
                    {
                        "reason": reason,
                        "count": said.count,
                        "is_strong": reason in STRONG,
                        "node": _node(row["labels"]),
                        "references": [
                            reference(
                                row,
                                "cluster.events.v1",
                                row["event_id"],
                                shows,
                                kind="symptom",
                                resource=row["resource"],
                            )
                        ],
                    }
                ),
                rule_version=limits.rule_version,
            )
        )
    return signals


def _node(labels: str | None) -> str | None:
    if not labels:
        return None
    try:
        found = orjson.loads(labels)
    except orjson.JSONDecodeError:
        return None
    node = found.get("node") if isinstance(found, dict) else None
    return node if isinstance(node, str) else None
