"""OTLP/JSON -> telemetry, by OTLP's own rules and not protobuf's: ids are hex, 64-bit numbers are text or numbers.

Ids in base64, which protobuf's usual JSON writers make of them, are known by their length. Unknown fields are ignored,
a field of the wrong type is a fault of the thing it belongs to, and loses nothing else.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import orjson

from pipeline.ingest.histograms import exponential, kind_of_sum
from pipeline.ingest.telemetry import (
    DEEPEST_VALUE,
    MOST_ATTRIBUTES,
    NANOS_PER_MICRO,
    Attributes,
    Distribution,
    LogRecord,
    Origin,
    Quantity,
    Span,
    Telemetry,
    UnmappableError,
)
from schemas.codecs.nesting import is_too_deep
from schemas.errors import Reason

DELTA: Final = (1, "AGGREGATION_TEMPORALITY_DELTA")
ERRORS: Final = {"STATUS_CODE_ERROR": 2, "STATUS_CODE_OK": 1}  # some write the names
HEX: Final = frozenset("0123456789abcdef")
Found = Mapping[str, Any]
# what reading a field of the wrong type may raise; KeyError does not occur, because absent fields have defaults
WRONG: Final = (TypeError, ValueError, AttributeError, OverflowError)


def load(data: bytes) -> dict[str, Any]:
    """The object in the bytes. Raises UnmappableError."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UnmappableError(Reason.INVALID_UTF8, f"byte {error.start} is not UTF-8; encode JSON as UTF-8") from None
    if is_too_deep(text):
        raise UnmappableError(Reason.NESTED_TOO_DEEP, "nested more than 32 deep")
    try:
        found = orjson.loads(text)
    except ValueError as error:
        raise UnmappableError(Reason.MALFORMED, f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UnmappableError(Reason.MALFORMED, f"a JSON {type(found).__name__}, not an object")
    return found


def spans(document: Found) -> Telemetry:
    """The spans of one document."""
    found = Telemetry()
    for resource in objects(document, "resourceSpans"):
        for scope in objects(resource, "scopeSpans"):
            origin = _origin(found, resource, scope)
            for span in objects(scope, "spans"):
                _keep(found, found.spans, _span, span, origin)
    return found


def logs(document: Found) -> Telemetry:
    """The log records of one document."""
    found = Telemetry()
    for resource in objects(document, "resourceLogs"):
        for scope in objects(resource, "scopeLogs"):
            origin = _origin(found, resource, scope)
            for record in objects(scope, "logRecords"):
                _keep(found, found.logs, _log, record, origin)
    return found


def metrics(document: Found) -> Telemetry:
    """The data points of one document."""
    found = Telemetry()
    for resource in objects(document, "resourceMetrics"):
        for scope in objects(resource, "scopeMetrics"):
            origin = _origin(found, resource, scope)
            for metric in objects(scope, "metrics"):
                for kind, make in MAKERS.items():
                    data = metric.get(kind)
                    for point in objects(data, "dataPoints") if isinstance(data, dict) else ():
                        if not _int(point.get("flags", 0)) & 1:
                            _keep(found, found.metrics, make, metric, data, point, origin)
    return found


def objects(holder: Any, name: str) -> Iterator[dict[str, Any]]:
    """The objects of a list; what is no list, or no object in it, is nothing."""
    items = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(items, list):
        yield from (item for item in items if isinstance(item, dict))


def _keep(found: Telemetry, kept: list[Any], make: Callable[..., Any], *parts: Any) -> None:
    try:
        kept.append(make(*parts))
    except UnmappableError as error:
        found.faults.append(error)
    except WRONG as error:
        found.faults.append(UnmappableError(Reason.WRONG_TYPE, f"a field of the wrong type: {str(error)[:200]}"))


def _span(span: Found, origin: Origin) -> Span:
    status = span.get("status") or {}
    code = status.get("code", 0)
    events = [event for event in objects(span, "events") if event.get("name") == "exception"]
    return Span(
        origin,
        _id(span.get("traceId"), 16),
        _id(span.get("spanId"), 8),
        _id(span["parentSpanId"], 8) if span.get("parentSpanId") else None,
        _text(span.get("name")),
        _time(span.get("startTimeUnixNano")),
        _time(span.get("endTimeUnixNano")),
        _attributes(span.get("attributes")),
        ERRORS.get(code, 0) if isinstance(code, str) else _int(code),
        _text(status.get("message")),
        [_attributes(event.get("attributes")) for event in events],
    )


def _log(record: Found, origin: Origin) -> LogRecord:
    return LogRecord(
        origin,
        _time(record.get("timeUnixNano")) or _time(record.get("observedTimeUnixNano")),
        _value(record.get("body")),
        _attributes(record.get("attributes")),
        _int(record.get("severityNumber", 0)) if not isinstance(record.get("severityNumber"), str) else 0,
        _text(record.get("eventName")),
        _text(record.get("traceId")),
    )


def _quantity(kind: str) -> Callable[[Found, Found, Found, Origin], Quantity]:
    def make(metric: Found, data: Found, point: Found, origin: Origin) -> Quantity:
        value = point.get("asDouble", point.get("asInt"))
        how = "gauge"
        if kind == "sum":
            how = kind_of_sum(data.get("aggregationTemporality") in DELTA, bool(data.get("isMonotonic")))
        return Quantity(
            origin,
            _text(metric.get("name")),
            _text(metric.get("unit")),
            how,
            _time(point.get("timeUnixNano")),
            _time(point.get("startTimeUnixNano")),
            float(0 if value is None else value),
            _attributes(point.get("attributes")),
        )

    return make


def _distribution(kind: str) -> Callable[[Found, Found, Found, Origin], Distribution]:
    def make(metric: Found, data: Found, point: Found, origin: Origin) -> Distribution:
        bounds: tuple[float, ...] = ()
        counts: tuple[int, ...] = ()
        quantiles: tuple[tuple[float, float], ...] = ()
        if kind == "histogram":
            bounds = tuple(float(bound) for bound in point.get("explicitBounds") or ())
            counts = tuple(_int(count) for count in point.get("bucketCounts") or ())
        elif kind == "exponentialHistogram":
            bounds, counts = exponential(
                _int(point.get("scale", 0)),
                _int(point.get("zeroCount", 0)),
                _buckets(point.get("positive")),
                _buckets(point.get("negative")),
            )
        else:
            quantiles = tuple(
                (float(item.get("quantile", 0)), float(item.get("value", 0)))
                for item in objects(point, "quantileValues")
            )
        return Distribution(
            origin=origin,
            name=_text(metric.get("name")),
            unit=_text(metric.get("unit")),
            is_cumulative=data.get("aggregationTemporality") not in DELTA,
            time=_time(point.get("timeUnixNano")),
            start=_time(point.get("startTimeUnixNano")),
            count=_int(point.get("count", 0)),
            total=float(point["sum"]) if point.get("sum") is not None else None,
            bounds=bounds,
            counts=counts,
            attributes=_attributes(point.get("attributes")),
            quantiles=quantiles,
            least=float(point["min"]) if point.get("min") is not None else None,
            most=float(point["max"]) if point.get("max") is not None else None,
        )

    return make


MAKERS: Final[Mapping[str, Callable[[Found, Found, Found, Origin], Quantity | Distribution]]] = {
    "gauge": _quantity("gauge"),
    "sum": _quantity("sum"),
    "histogram": _distribution("histogram"),
    "exponentialHistogram": _distribution("exponentialHistogram"),
    "summary": _distribution("summary"),
}


def _buckets(found: Any) -> tuple[int, list[int]]:
    if not isinstance(found, dict):
        return 0, []
    return _int(found.get("offset", 0)), [_int(count) for count in found.get("bucketCounts") or ()]


def _origin(found: Telemetry, resource: Found, scope: Found) -> Origin:
    said, library = resource.get("resource"), scope.get("scope")
    attributes: Attributes = {}
    try:
        attributes = _attributes(said.get("attributes")) if isinstance(said, dict) else {}
    except WRONG as error:
        found.faults.append(UnmappableError(Reason.WRONG_TYPE, f"resource: {str(error)[:200]}"))
    library = library if isinstance(library, dict) else {}
    return Origin(attributes, _text(library.get("name")), _text(library.get("version")))


def _attributes(pairs: Any) -> Attributes:
    if pairs is None:
        return {}
    if not isinstance(pairs, list):
        raise TypeError("attributes are a list of key and value")
    return {_text(pair.get("key")): _value(pair.get("value")) for pair in pairs[:MOST_ATTRIBUTES]}


def _value(value: Any, depth: int = 0) -> Any:
    if not isinstance(value, dict):
        return None
    for kind, found in value.items():
        if kind == "stringValue":
            return _text(found)
        if kind == "intValue":
            return _int(found)
        if kind == "doubleValue":
            return float(found)
        if kind == "boolValue":
            return bool(found)
        if kind == "bytesValue":
            return base64.b64decode(_text(found)).hex()
        if kind == "arrayValue" and depth < DEEPEST_VALUE:
            return [_value(item, depth + 1) for item in objects(found, "values")]
        if kind == "kvlistValue" and depth < DEEPEST_VALUE:
            return {_text(pair.get("key")): _value(pair.get("value"), depth + 1) for pair in objects(found, "values")}
    return None


def _id(value: Any, size: int) -> str:
    text = _text(value)
    if len(text) == 2 * size:
        text = text.lower()
        if set(text) <= HEX:
            return text
    elif len(text) == 4 * -(-size // 3):  # base64 of so many bytes
        try:
            return base64.b64decode(text, validate=True).hex()
        except binascii.Error:
            pass
    raise UnmappableError(Reason.WRONG_TYPE, f"id {text[:40]!r}; write {2 * size} hex digits")


def _time(value: Any) -> int:
    return _int(value or 0) // NANOS_PER_MICRO


def _int(value: Any) -> int:
    found = int(value)
    if not -(2**63) <= found < 2**64:
        raise ValueError("a number of more than 64 bits")
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__} where a text belongs")
    return value
