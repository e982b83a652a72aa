"""The incident as people and programs read it: nested, validated, one object a revision."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, field_validator

from schemas.times import format_time, parse_time

Kind = Literal[
    "feedback_loop",
    "resource_exhaustion",
    "agent_caused_failure",
    "infrastructure_failure",
    "governance_breach",
    "telemetry_gap",
]
Status = Literal["open", "resolved", "withdrawn"]
Severity = Literal["info", "warning", "critical"]
Verdict = Literal["agent", "infrastructure", "change", "shared", "undetermined"]
GapClass = Literal[
    "never_queried", "stale_read", "read_failed", "dropped", "seen_not_used", "unknowable", "cannot_tell"
]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
TIME_FIELDS = ("started_at", "detected_at", "updated_at", "resolved_at", "acknowledged_at", "first_seen_at")
NESTED_FIELDS = (
    "session_ids",
    "attribution",
    "exhaustion",
    "context_gaps",
    "governance_gaps",
    "blast_radius",
    "evidence",
    "transitions",
)


class Part(BaseModel):
    """A part of an incident: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class Evidence(Part):
    """A reference to the row that shows it. Partition and offset are -1 where there is no log (backtest)."""

    type: Literal["signal", "symptom", "action", "fact", "change"]
    topic: str
    partition: int
    offset: int
    event_id: str
    event_time: int
    resource: str | None = None
    tool_name: str | None = None  # of a call of an agent
    shows: str

    @field_serializer("event_time")
    def _time(self, value: int) -> str:
        return format_time(value)

    @field_validator("event_time", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> int:
        return parse_time(value)


class Candidate(Part):
    """One possible cause, with its own probability and the factors it was computed from."""

    kind: str  # agent_action, deploy, scale, config, flag, ...
    resource: str | None
    event_id: str | None = None
    span_id: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    event_time: int
    probability: float
    factors: dict[str, float]
    shows: str = ""

    @field_serializer("event_time")
    def _time(self, value: int) -> str:
        return format_time(value)

    @field_validator("event_time", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> int:
        return parse_time(value)


class Attribution(Part):
    """Who or what did it, and how sure we are. `probability` is that of the verdict.

    unseen: what was silent and may hide another cause, a phrase a source; each made the probability smaller.
    """

    verdict: Verdict
    probability: float
    ranked: tuple[Candidate, ...] = ()
    unseen: tuple[str, ...] = ()


class Exhaustion(Part):
    """What was used beyond need: counts and percentages, never money."""

    needed_calls: int
    calls: int
    redundant_calls: int
    calls_percent_of_expected: float
    unplanned_tokens: int
    unplanned_input_tokens: int
    unplanned_output_tokens: int
    unplanned_cached_input_tokens: int
    unplanned_reasoning_tokens: int
    wall_time_seconds: float


CLASS_TEXT: Mapping[str, str] = {  # how a person is told of it
    "never_queried": "never asked",
    "stale_read": "read before it changed",
    "read_failed": "asked, but the read failed",
    "dropped": "read, then cut from its context",
    "seen_not_used": "read, and acted against",
    "unknowable": "published only afterwards: bad luck, not a gap",
    "cannot_tell": "cannot tell from its reads",
}


class ContextGap(Part):
    """A fact that held, what the session knew of it before its decision, and at which step it dropped out."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    event_id: str
    resource: str
    source: str | None
    class_: GapClass = Field(alias="class")
    span_id: str
    read_at: int | None = None
    step: str = ""  # what the span of `span_id` was
    shows: str = ""

    @field_serializer("read_at")
    def _time(self, value: int | None) -> str | None:
        return None if value is None else format_time(value)

    @field_validator("read_at", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> int | None:
        return None if value is None else parse_time(value)


class GovernanceGap(Part):
    """A limit, approval or validation that was missing or bypassed."""

    component: str
    failure_point: str
    gap: str
    references: tuple[str, ...] = ()


class BlastResource(Part):
    """A resource with a symptom, and how far it is from the cause: 0 the same, 1 owner, scope or one dependency.

    state, as of the revision: a metric of it is `off`; all that were are `back`; one was off when it fell `silent`; or
    only warnings told of it (`warned`), which never say that they are over. Empty: not known. last_at: its newest
    symptom.
    """

    resource: str
    distance: int
    state: Literal["off", "back", "silent", "warned", ""] = ""
    last_at: int | None = None

    @field_serializer("last_at")
    def _time(self, value: int | None) -> str | None:
        return None if value is None else format_time(value)

    @field_validator("last_at", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> int | None:
        return None if value is None else parse_time(value)


class Transition(Part):
    """One step in the life of an incident; `incident_id` is the other one of a merge or of a successor."""

    at: int
    type: Literal["opened", "resolved", "reopened", "merged", "continued", "severity"]
    shows: str
    incident_id: str | None = None

    @field_serializer("at")
    def _time(self, value: int) -> str:
        return format_time(value)

    @field_validator("at", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> int:
        return parse_time(value)


class Incident(Part):
    """One revision of one incident. The newest wins."""

    incident_id: str
    fingerprint: str
    revision: int
    provisional: bool = False
    tenant: str
    kind: Kind
    status: Status
    severity: Severity
    scope: str | None
    agent_id: str | None
    agent_version: str | None
    session_ids: tuple[str, ...]
    title: str
    owner: str | None = None
    started_at: int
    detected_at: int
    updated_at: int
    resolved_at: int | None = None
    acknowledged_at: int | None = None
    acknowledged_by: str | None = None
    summary: str
    attribution: Attribution
    exhaustion: Exhaustion | None = None
    context_gaps: tuple[ContextGap, ...] = ()
    governance_gaps: tuple[GovernanceGap, ...] = ()
    blast_radius: tuple[BlastResource, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    rule_version: str = "1"
    occurrences: int = 1  # of the same problem (fingerprint), this one included
    first_seen_at: int | None = None  # of the same problem
    follows: str | None = None  # the incident that this one goes on from
    followed_by: str | None = None
    merged_into: str | None = None
    transitions: tuple[Transition, ...] = ()

    def newest_step(self, kind: str) -> Transition | None:
        """The newest step of this type in its life; None where there was none."""
        return next((step for step in reversed(self.transitions) if step.type == kind), None)

    @field_serializer(*TIME_FIELDS)
    def _time(self, value: int | None) -> str | None:
        return None if value is None else format_time(value)

    @field_validator(*TIME_FIELDS, mode="before")
    @classmethod
    def _parse(cls, value: Any) -> int | None:
        return None if value is None else parse_time(value)
