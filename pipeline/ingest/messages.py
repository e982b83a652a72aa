"""One message of an otlp_* topic -> the events it holds and what could not be read. Raises nothing on any bytes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.core.limits import Limits
from pipeline.ingest import otlp_json, otlp_protobuf
from pipeline.ingest.agent_spans import DEFAULT_TENANT, agent_span
from pipeline.ingest.telemetry import Telemetry, UnmappableError
from pipeline.ingest.whole import completed
from schemas.errors import Reason
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


class Reader:
    """Reads messages. Limits say what a tool may do where nobody declares it."""

    def __init__(self, limits: Limits | None = None, tenant: str = DEFAULT_TENANT) -> None:
        self._limits = limits or Limits()
        self._tenant = tenant
        self._map: Mapping[str, Callable[[Telemetry], list[Event]]] = {OTLP_SPANS.name: self._spans}

    def read(self, topic: str, value: bytes | None) -> Mapped:
        """The events of one message of this topic."""
        try:
            if not value:
                raise UnmappableError(Reason.EMPTY, "no value; send OTLP")
            if len(value) > MAX_MESSAGE_BYTES:
                raise UnmappableError(Reason.TOO_LARGE, f"{len(value)} bytes; at most {MAX_MESSAGE_BYTES}")
            telemetry = decode(topic, value)
            found = telemetry.size
            events = self._map[topic](telemetry)
        except UnmappableError as error:
            return Mapped(reason=error.reason, detail=error.detail, is_rejected=True)
        mapped = Mapped(events, unwanted=found - len(events))
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
                rows.append(agent_span(span, self._limits, self._tenant))
                kept.append(span)
            except UnmappableError as error:
                telemetry.faults.append(error)
        return [("agent_span", row) for row in completed(kept, rows)]


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
