"""One JSON object -> one event: for people trying it out with `kafka-console-producer`, and for files.

It goes by the pydantic models and not by polars' JSON reader, although that would be a column at a time: polars
(2.1) drops unknown fields, so that a misspelt one is lost unseen, turns numbers and objects into text where the
schema says text, and fails the whole block without naming the row where it says number. A test holds that this is
so. Producers that care for speed write Avro.
"""

import json
from typing import Any, Final

import orjson
from pydantic import ValidationError

from schemas.codecs.nesting import DEEPEST, is_too_deep
from schemas.codecs.single import UnreadableError
from schemas.errors import Reason
from schemas.events import EVENTS, JSON_COLUMNS, TIME_COLUMNS, AgentSpan, ClusterEvent, MetricPoint

AnyEvent = AgentSpan | MetricPoint | ClusterEvent
TICK_TYPE: Final = "tick"
WHITE_SPACE: Final = b" \t\r\n"

# what pydantic calls it -> what we call it; a test shows that each wrong value lands on a name of this table
REASONS: Final[dict[str, Reason]] = {
    "missing": Reason.MISSING_FIELD,
    "string_too_short": Reason.MISSING_FIELD,
    "extra_forbidden": Reason.UNKNOWN_FIELD,
    "value_error": Reason.UNKNOWN_VALUE,  # of a closed set; on a time it is a wrong type
    "string_type": Reason.WRONG_TYPE,
    "int_type": Reason.WRONG_TYPE,
    "float_type": Reason.WRONG_TYPE,
    "less_than": Reason.WRONG_TYPE,  # a count beyond any count; on a time it is out of range
    "greater_than_equal": Reason.NEGATIVE_NUMBER,  # on a time it is out of range
    "string_too_long": Reason.TEXT_TOO_LONG,
    "finite_number": Reason.NOT_FINITE,
}


def is_json(data: bytes) -> bool:
    """Whether a message is meant as a JSON object: `{` is its first byte behind white space."""
    return data[:1] == b"{" or data.lstrip(WHITE_SPACE)[:1] == b"{"


def load(data: bytes) -> dict[str, Any]:
    """The object that stands in the bytes. Raises UnreadableError."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(Reason.INVALID_UTF8, f"byte {error.start} is not UTF-8; encode JSON as UTF-8") from None
    if is_too_deep(text):
        raise UnreadableError(Reason.NESTED_TOO_DEEP, f"nested more than {DEEPEST} deep; flatten it")
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "infinity" in str(error) or _has_constant(text):
            raise UnreadableError(Reason.NOT_FINITE, "holds NaN or an infinite number; leave the point out") from None
        raise UnreadableError(Reason.MALFORMED, f"not a JSON object: {error}") from None
    if not isinstance(found, dict):
        raise UnreadableError(
            Reason.MALFORMED, f"a JSON {type(found).__name__}, not an object; send one object a message"
        )
    return found


def event_of(found: dict[str, Any], record: str) -> AnyEvent:
    """The event of an object without `type` and `ingest_time`. Raises UnreadableError."""
    try:
        event = EVENTS[record].model_validate(found)
    except ValidationError as error:
        raise _unreadable(error, record) from None
    for name in JSON_COLUMNS[record]:
        if is_too_deep(getattr(event, name) or ""):
            raise UnreadableError(Reason.NESTED_TOO_DEEP, f"{name} is nested more than {DEEPEST} deep; flatten it")
    return event


def decode(data: bytes, record: str) -> AnyEvent | None:
    """The event of one message of a topic of this record; None for a tick. Raises UnreadableError."""
    found = load(data)
    kind = found.pop("type", record)
    if kind == TICK_TYPE:
        return None
    if kind != record:
        raise UnreadableError(
            Reason.WRONG_TYPE, f"type is {str(kind)[:40]!r} on a topic of {record}; send it to its own topic"
        )
    found.pop("ingest_time", None)  # the broker's stamp counts
    return event_of(found, record)


def _unreadable(error: ValidationError, record: str) -> UnreadableError:
    """Our reason for the first thing that pydantic found."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    kind = first["type"]
    reason = REASONS.get(kind, Reason.MALFORMED)
    if field in TIME_COLUMNS[record]:
        if kind in ("less_than", "greater_than_equal"):
            reason = Reason.TIME_OUT_OF_RANGE
        elif kind == "value_error":
            reason = Reason.WRONG_TYPE
    return UnreadableError(reason, f"{field[:80]}: {first['msg'].removeprefix('Value error, ')}")


class _ConstantError(Exception):
    pass


def _has_constant(text: str) -> bool:
    """Whether NaN or Infinity is why a strict parser refused the text. Its depth is known to be bounded."""

    def refuse(constant: str) -> None:
        raise _ConstantError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except _ConstantError:
        return True
    except ValueError:
        pass  # malformed in some other way, which the caller says
    return False
