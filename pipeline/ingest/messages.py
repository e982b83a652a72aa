"""One message of an otlp_* topic -> the events it holds and what could not be read. Raises nothing on any bytes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.core.limits import Limits
from pipeline.ingest import otlp_json, otlp_protobuf
from pipeline.ingest.agent_spans import agent_span
from pipeline.ingest.log_records import cluster_events
from pipeline.ingest.metric_points import Memory, metric_points
from pipeline.ingest.services import DEFAULT_TENANT
from pipeline.ingest.telemetry import Telemetry, UnmappableError
from pipeline.ingest.whole import completed
from schemas.codecs import Unread
from schemas.errors import Reason
from schemas.resources import scope_of
from schemas.topics import MAX_MESSAGE_BYTES, OTLP_LOGS, OTLP_METRICS, OTLP_SPANS

Event = tuple[str, dict[str, Any]]  # the record (agent_span, ...), its fields
MOST_FAULTS_NAMED: Final = 3


@dataclass(slots=True)
class Mapped:
    """What became of one message. reason: of what was left out; `is_rejected` where that is all of it."""

    events: list[Event] = field(default_factory=list)
    reason: Reason | None = None
    detail: str = ""
    is_rejected: bool = False
    unwanted: int = 0  # valid, and none of our business


def key_of(record: str, row: Mapping[str, Any]) -> str:
    """The Kafka key of an event: everything that must meet in one partition has the same."""
    if record == "agent_span":
        return f"{row['tenant']}/{row.get('root_session_id') or row['session_id']}"
    about: str = row["resource"]
    return f"{row['tenant']}/{about if record == 'metric_point' else scope_of(about) or about}"


class Reader:
    """Reads the messages of one partition, in order.

    limits say what a tool may do where nobody declares it; agents are patterns of the user names that agents have.
    """

    def __init__(self, limits: Limits | None = None, tenant: str = DEFAULT_TENANT, agents: Sequence[str] = ()) -> None:
        self.limits = limits or Limits()
        self._tenant = tenant
        self._agents = tuple(agents)
        self._memory: Memory = Memory()  # of metrics: what a difference needs
        self._map: Mapping[str, Callable[[Telemetry], list[Event]]] = {
            OTLP_SPANS.name: self._spans,
            OTLP_METRICS.name: self._points,
            OTLP_LOGS.name: self._logs,
        }

    def read(self, topic: str, value: bytes | None) -> Mapped:
        """The events of one message of this topic."""
        try:
            if isinstance(value, Unread):
                raise UnmappableError(value.reason, value.why)
            if not value:
                raise UnmappableError(Reason.EMPTY, "no value; send OTLP")
            if len(value) > MAX_MESSAGE_BYTES:
                raise UnmappableError(Reason.TOO_LARGE, f"{len(value)} bytes; at most {MAX_MESSAGE_BYTES}")
            return self.events(topic, decode(topic, value))
        except UnmappableError as error:
            return Mapped(reason=error.reason, detail=error.detail, is_rejected=True)

    def events(self, topic: str, telemetry: Telemetry) -> Mapped:
        """The events of what was decoded already, as from a message of this topic."""
        found = telemetry.size
        events = self._map[topic](telemetry)
        mapped = Mapped(events, unwanted=max(0, found - len(events)))
        if telemetry.faults:
            first = telemetry.faults[0]
            said = "; ".join(fault.detail for fault in telemetry.faults[:MOST_FAULTS_NAMED])
            mapped.reason = first.reason
            mapped.detail = f"{len(telemetry.faults)} of {found + len(telemetry.faults)} left out: {said}"
            mapped.is_rejected = not events
        return mapped

    def _spans(self, telemetry: Telemetry) -> list[Event]:
        rows = []
        kept = []
        for span in telemetry.spans:
            try:
                rows.append(agent_span(span, self.limits, self._tenant))
                kept.append(span)
            except UnmappableError as error:
                telemetry.faults.append(error)
        return [("agent_span", row) for row in completed(kept, rows)]

    def _points(self, telemetry: Telemetry) -> list[Event]:
        events: list[Event] = []
        for point in telemetry.metrics:
            try:
                rows = metric_points(point, self._memory, self._tenant)
            except UnmappableError as error:
                telemetry.faults.append(error)
            else:
                events += [("metric_point", row) for row in rows]
        return events

    def _logs(self, telemetry: Telemetry) -> list[Event]:
        events: list[Event] = []
        for record in telemetry.logs:
            try:
                rows = cluster_events(record, self._tenant, self._agents)
            except UnmappableError as error:
                telemetry.faults.append(error)
            else:
                events += [("cluster_event", row) for row in rows]
        return events


PROTOBUF: Final[Mapping[str, Callable[[bytes], Telemetry]]] = {
    OTLP_SPANS.name: otlp_protobuf.spans,
    OTLP_METRICS.name: otlp_protobuf.metrics,
    OTLP_LOGS.name: otlp_protobuf.logs,
}
JSON: Final[Mapping[str, Callable[[Mapping[str, Any]], Telemetry]]] = {
    OTLP_SPANS.name: otlp_json.spans,
    OTLP_METRICS.name: otlp_json.metrics,
    OTLP_LOGS.name: otlp_json.logs,
}


def decode(topic: str, value: bytes) -> Telemetry:
    """Protobuf or JSON, by what the bytes are. Raises UnmappableError.

    A protobuf message may begin with a line feed and `{`, which is a field of 123 bytes; so protobuf goes first unless
    the very first byte is the bracket, which no protobuf of OTLP begins with.
    """
    if value[:1] == b"{":
        return _json(topic, value)
    try:
        return PROTOBUF[topic](value)
    except UnmappableError:
        if value.lstrip()[:1] == b"{":
            return _json(topic, value)
        raise


def _json(topic: str, value: bytes) -> Telemetry:
    found = JSON[topic](otlp_json.load(value))
    if not found.size and not found.faults:
        raise UnmappableError(Reason.MALFORMED, "JSON, but nothing of OTLP in it; check the exporter's encoding")
    return found
