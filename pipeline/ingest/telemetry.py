"""OpenTelemetry as the adapters see it: spans, metrics and logs, no matter whether protobuf or JSON carried them.

Values are what JSON has: text, numbers, booleans, None, lists and dicts; bytes become hex text. Times are microseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.errors import Reason

Attributes = dict[str, Any]

MOST_ATTRIBUTES: Final = 1024  # of one span, point or log record; the rest is not looked at
DEEPEST_VALUE: Final = 16  # lists and maps in each other; what lies deeper becomes null
ERROR_STATUS: Final = 2
NANOS_PER_MICRO: Final = 1000


class UnmappableError(Exception):
    """A message, or one thing in it, that is not what it should be: why, and what to do."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class Origin:
    """Who sent it: the resource, and the library that measured."""

    resource: Attributes
    scope: str = ""
    scope_version: str = ""
    cache: dict[str, Any] = field(default_factory=dict)  # what an adapter has worked out of it once


@dataclass(slots=True)
class Span:
    """One span; ids are lower-case hex."""

    origin: Origin
    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    start: int
    end: int
    attributes: Attributes
    status: int = 0
    message: str = ""
    exceptions: Sequence[Attributes] = ()  # attributes of its exception events


@dataclass(slots=True)
class Quantity:
    """One data point of a gauge or a sum."""

    origin: Origin
    name: str
    unit: str
    kind: str  # gauge, delta, cumulative
    time: int
    start: int
    value: float
    attributes: Attributes


@dataclass(slots=True)
class Distribution:
    """One data point of a histogram: counts between bounds, or of a summary: quantiles as they are."""

    origin: Origin
    name: str
    unit: str
    is_cumulative: bool
    time: int
    start: int
    count: int
    total: float | None
    bounds: tuple[float, ...]  # counts has one more
    counts: tuple[int, ...]
    attributes: Attributes
    quantiles: tuple[tuple[float, float], ...] = ()
    least: float | None = None
    most: float | None = None


@dataclass(slots=True)
class LogRecord:
    """One log record."""

    origin: Origin
    time: int
    body: Any
    attributes: Attributes
    severity: int = 0
    event_name: str = ""
    trace_id: str = ""


@dataclass(slots=True)
class Telemetry:
    """What one message held, and the faults of what is left out, one sentence each."""

    spans: list[Span] = field(default_factory=list)
    metrics: list[Quantity | Distribution] = field(default_factory=list)
    logs: list[LogRecord] = field(default_factory=list)
    faults: list[UnmappableError] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Things that could be read."""
        return len(self.spans) + len(self.metrics) + len(self.logs)
