"""The three events that services publish, as pydantic models: for files, the command and the client.

The models say in Python what `schemas/avro` says in Avro (a test holds them equal) and add what a schema cannot:
closed sets of values, ranges and times as RFC 3339. Batches from Kafka do not pass through here: `schemas/codecs`
reads them as columns and checks the same ranges there.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from schemas.resources import scope_of
from schemas.times import EARLIEST, LATEST, parse_time

NAME_LENGTH = 512  # characters of an id or a name
TEXT_LENGTH = 65_536  # characters of arguments, summaries, messages
# counts stay below this: the sum of 2^15 of the greatest, and a duration in microseconds, still fit into 64 bits, so
# no message can turn a sum negative
COUNT_LIMIT = 2**48

OPERATIONS = ("invoke_agent", "chat", "execute_tool", "handoff", "retrieval", "decision", "approval")
ACCESSES = ("read", "write", "destructive", "provision")
STATUSES = ("ok", "error")
APPROVALS = ("not_required", "requested", "granted", "denied")
METRIC_KINDS = ("gauge", "delta", "cumulative")
EVENT_KINDS = (
    "kubernetes",
    "deploy",
    "scale",
    "config",
    "flag",
    "maintenance",
    "freeze",
    "quota",
    "dependency",
    "audit",
)
EVENT_SEVERITIES = ("normal", "warning")
ACTOR_KINDS = ("agent", "human", "controller")

# column -> the values it may have; null is judged by the schema
CLOSED_SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "agent_span": {"operation": OPERATIONS, "access": ACCESSES, "status": STATUSES, "approval": APPROVALS},
    "metric_point": {"kind": METRIC_KINDS},
    "cluster_event": {"kind": EVENT_KINDS, "severity": EVENT_SEVERITIES, "actor_kind": ACTOR_KINDS},
}
TIME_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "agent_span": ("event_time", "start_time"),
    "metric_point": ("event_time",),
    "cluster_event": ("event_time", "published_time", "valid_from", "valid_until"),
}
# column -> the least it may be
LEAST: Mapping[str, Mapping[str, int]] = {
    "agent_span": {
        "duration_ms": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cached_input_tokens": 0,
        "reasoning_tokens": 0,
        "context_tokens": 0,
        "context_limit": 1,
        "step": 0,
        "max_steps": 1,
        "attempt": 1,
    },
    "metric_point": {},
    "cluster_event": {"count": 1},
}
# text that may be long; every other string is a name
LONG_TEXT = frozenset({"tool_args", "summary", "context_facts", "expects", "attributes", "message", "labels", "value"})
JSON_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "agent_span": ("tool_args", "context_facts", "expects", "attributes"),
    "metric_point": ("labels",),
    "cluster_event": ("labels",),
}


def _one_of(values: tuple[str, ...]) -> BeforeValidator:
    def check(value: Any) -> Any:
        if value is not None and value not in values:
            raise ValueError(f"must be one of {', '.join(values)}, not {str(value)[:40]!r}")
        return value

    return BeforeValidator(check)


def _as_text(value: Any) -> Any:
    """JSON columns may be written as JSON itself in files: an object or a list becomes its text."""
    import orjson

    return orjson.dumps(value).decode() if isinstance(value, dict | list) else value


def _as_time(value: Any) -> int:
    # parse_time is for what may be a time; whatever else a file holds here is a wrong value, not a crash
    if not isinstance(value, str | int | datetime):
        raise ValueError(f"a time is an RFC 3339 string or integer microseconds, not {type(value).__name__}")
    return parse_time(value)


Time = Annotated[int, BeforeValidator(_as_time), Field(ge=EARLIEST, lt=LATEST)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_LENGTH)]
Text = Annotated[str, StringConstraints(max_length=TEXT_LENGTH), BeforeValidator(_as_text)]
Count = Annotated[int, Field(ge=0, lt=COUNT_LIMIT)]
Positive = Annotated[int, Field(ge=1, lt=COUNT_LIMIT)]


class Event(BaseModel):
    """What the three have in common. Unknown fields are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", strict=True)
    record: ClassVar[str]

    @property
    def key(self) -> str:
        """The Kafka key: everything that must meet in one partition has the same."""
        raise NotImplementedError


class AgentSpan(Event):
    """One thing an agent did."""

    record: ClassVar[str] = "agent_span"
    event_time: Time
    start_time: Time | None = None
    duration_ms: Count = 0
    tenant: Name
    trace_id: Name
    span_id: Name
    parent_span_id: Name | None = None
    session_id: Name
    root_session_id: Name | None = None
    agent_id: Name
    agent_name: Name | None = None
    agent_version: Name | None = None
    task_type: Name | None = None
    requested_by: Name | None = None
    prompt_digest: Name | None = None
    prompt_version: Name | None = None
    operation: Annotated[str, _one_of(OPERATIONS)]
    provider: Name | None = None
    model: Name | None = None
    tool_name: Name | None = None
    tool_args: Text | None = None
    args_digest: Name | None = None
    result_digest: Name | None = None
    access: Annotated[str | None, _one_of(ACCESSES)] = None
    target: Name | None = None
    input_tokens: Count = 0
    output_tokens: Count = 0
    cached_input_tokens: Count = 0
    reasoning_tokens: Count = 0
    context_tokens: Count | None = None
    context_limit: Positive | None = None
    finish_reason: Name | None = None
    step: Count | None = None
    max_steps: Positive | None = None
    attempt: Positive = 1
    status: Annotated[str, _one_of(STATUSES)] = "ok"
    error_type: Name | None = None
    approval: Annotated[str | None, _one_of(APPROVALS)] = None
    approved_by: Name | None = None
    summary: Text | None = None
    context_facts: Text | None = None
    expects: Text | None = None
    attributes: Text | None = None

    @property
    def key(self) -> str:
        return f"{self.tenant}/{self.root_session_id or self.session_id}"


class MetricPoint(Event):
    """One value of one metric of one resource."""

    record: ClassVar[str] = "metric_point"
    event_time: Time
    tenant: Name
    resource: Name
    metric: Name
    value: Annotated[float, Field(allow_inf_nan=False)]
    unit: Name | None = None
    kind: Annotated[str, _one_of(METRIC_KINDS)] = "gauge"
    labels: Text | None = None

    @property
    def key(self) -> str:
        return f"{self.tenant}/{self.resource}"


class ClusterEvent(Event):
    """One thing that happened to a resource, or a fact that holds for it."""

    record: ClassVar[str] = "cluster_event"
    event_time: Time
    published_time: Time | None = None
    tenant: Name
    event_id: Name
    resource: Name
    kind: Annotated[str, _one_of(EVENT_KINDS)]
    reason: Name | None = None
    severity: Annotated[str, _one_of(EVENT_SEVERITIES)] = "normal"
    actor: Name | None = None
    actor_kind: Annotated[str | None, _one_of(ACTOR_KINDS)] = None
    session_id: Name | None = None
    valid_from: Time | None = None
    valid_until: Time | None = None
    value: Text | None = None
    previous_value: Name | None = None
    source: Name | None = None
    count: Positive = 1
    message: Text | None = None
    labels: Text | None = None

    @property
    def key(self) -> str:
        return f"{self.tenant}/{scope_of(self.resource) or self.resource}"


EVENTS: Mapping[str, type[AgentSpan | MetricPoint | ClusterEvent]] = {
    "agent_span": AgentSpan,
    "metric_point": MetricPoint,
    "cluster_event": ClusterEvent,
}
TOPIC_RECORDS: Mapping[str, str] = {
    "agent.traces.v1": "agent_span",
    "system.metrics.v1": "metric_point",
    "cluster.events.v1": "cluster_event",
}
RECORD_TOPICS: Mapping[str, str] = {record: topic for topic, record in TOPIC_RECORDS.items()}
