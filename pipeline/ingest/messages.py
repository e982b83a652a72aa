"""One message of an otlp_* topic -> the events it holds and what could not be read. Raises nothing on any bytes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.core.limits import Limits
from pipeline.ingest import otlp_json, otlp_protobuf
from pipeline.ingest.log_records import cluster_events
from pipeline.ingest.metric_points import Memory, metric_points
from pipeline.ingest.services import DEFAULT_TENANT
from pipeline.ingest.span_reading import Bare, read_alone, read_together
from pipeline.ingest.span_table import Columns, rows_of
from pipeline.ingest.telemetry import Telemetry, UnmappableError
from schemas.codecs import Unread
from schemas.errors import Reason
from schemas.resources import scope_of
from schemas.topics import MAX_MESSAGE_BYTES, OTLP_LOGS, OTLP_METRICS, OTLP_SPANS

Event = tuple[str, dict[str, Any]]  # the record (agent_span, ...), its fields
MOST_FAULTS_NAMED: Final = 3


@dataclass(slots=True)
class Mapped:
    """What became of one message. reason: of what was left out; `is_rejected` where that is all of it.

    Where many messages are read together its spans are not among its events, but rows of columns that they all share.
    """

    events: list[Event] = field(default_factory=list)
    rows: int = 0  # spans in those columns
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


def span_keys(rows: Columns) -> list[bytes]:
    """The same of spans that are columns, as bytes."""
    if not rows:
        return []
    named = zip(rows["tenant"], rows["root_session_id"], rows["session_id"], strict=True)
    return [f"{tenant}/{root or session}".encode() for tenant, root, session in named]


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

    def read_all(self, topic: str, values: Sequence[bytes | None]) -> tuple[list[Mapped], Columns]:
        """The same of many messages of this topic, and the rows of their spans: that takes a third of the time."""
        if topic != OTLP_SPANS.name:
            return [self.read(topic, value) for value in values], {}
        bare = {place: spans for place, value in enumerate(values) if (spans := _bare(value)) is not None}
        read, columns = read_together(list(bare.values()), self.limits, self._tenant)
        together = dict(zip(bare, read, strict=True))
        found = []
        for place, value in enumerate(values):
            one = together.get(place)
            found.append(self.read(topic, value) if one is None else _mapped([], one.rows, one.size, one.faults))
        return found, columns

    def events(self, topic: str, telemetry: Telemetry) -> Mapped:
        """The events of what was decoded already, as from a message of this topic."""
        size = telemetry.size
        return _mapped(self._map[topic](telemetry), 0, size, telemetry.faults)

    def _spans(self, telemetry: Telemetry) -> list[Event]:
        return [("agent_span", row) for row in rows_of(read_alone(telemetry, self.limits, self._tenant))]

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


def _mapped(events: list[Event], rows: int, size: int, faults: Sequence[UnmappableError]) -> Mapped:
    """size: of what could be decoded."""
    number = len(events) + rows
    mapped = Mapped(events, rows, unwanted=max(0, size - number))
    if faults:
        said = "; ".join(fault.detail for fault in faults[:MOST_FAULTS_NAMED])
        mapped.reason = faults[0].reason
        mapped.detail = f"{len(faults)} of {size + len(faults)} left out: {said}"
        mapped.is_rejected = not number
    return mapped


def _bare(value: bytes | None) -> Bare | None:
    """The spans of a message of protobuf; None for what is none, or not as it should be."""
    if not value or len(value) > MAX_MESSAGE_BYTES or value[:1] == b"{":
        return None
    try:
        return otlp_protobuf.bare_spans(value)
    except UnmappableError:
        return None


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
