"""Every topic, its partitions and how long it keeps what: the one place that says so."""

from dataclasses import dataclass

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as `aftermath setup` creates it."""

    name: str
    partitions: int
    is_compacted: bool = False
    retention_ms: int = 7 * DAY_MS
    is_input: bool = False  # read by detect and archive


TRACES = Topic("agent.traces.v1", 4, is_input=True)
METRICS = Topic("system.metrics.v1", 4, is_input=True)
EVENTS = Topic("cluster.events.v1", 4, is_input=True)
SIGNALS = Topic("signals.v1", 4)
FACTS = Topic("facts.v1", 4, is_compacted=True)
INCIDENTS = Topic("incidents.v1", 4)
WATCHES = Topic("watches.v1", 4)
NOTIFICATIONS = Topic("notifications.v1", 4, is_compacted=True)
CONTROLS = Topic("agent.controls.v1", 4, is_compacted=True)
PROBES = Topic("agent.probes.v1", 1)  # not compacted: who claimed first counts
LIMITS = Topic("limits.v1", 1, is_compacted=True)  # one partition: versions have an order
ONCALL = Topic("oncall.v1", 1, is_compacted=True)
SNAPSHOTS = Topic("snapshots.v1", 4, is_compacted=True)
OTLP_SPANS = Topic("otlp_spans", 4, retention_ms=DAY_MS)  # as the OpenTelemetry Collector names them
OTLP_METRICS = Topic("otlp_metrics", 4, retention_ms=DAY_MS)
OTLP_LOGS = Topic("otlp_logs", 4, retention_ms=DAY_MS)
DEAD_LETTERS = Topic("dead_letters.v1", 1, retention_ms=3 * DAY_MS)

OTLP = (OTLP_SPANS, OTLP_METRICS, OTLP_LOGS)
ALL = (
    TRACES,
    METRICS,
    EVENTS,
    SIGNALS,
    FACTS,
    INCIDENTS,
    WATCHES,
    NOTIFICATIONS,
    CONTROLS,
    PROBES,
    ONCALL,
    LIMITS,
    SNAPSHOTS,
    DEAD_LETTERS,
    *OTLP,
)
INPUTS = tuple(topic for topic in ALL if topic.is_input)
BY_NAME = {topic.name: topic for topic in ALL}

MAX_MESSAGE_BYTES = 1_000_000  # equal to the broker's message.max.bytes


def source_name(topic: str, partition: int) -> str:
    """How a partition of an input topic is named in markers and usage rows: `agent.traces.v1/3`."""
    return f"{topic}/{partition}"
