"""One message at a time: Avro single-object encoding, strictly.

Ten bytes (C3 01 and the fingerprint of the writer's schema), then the fields. This is the reference that the block
reader (`blocks.py`) is held against, the way in for the few messages a block could not read, and the codec of what
we write ourselves: events of the player, the internal records, incidents, notifications, dead letters.

*Strict* means: the fingerprint is one of `schemas/avro`, every length is checked against the bytes that are left
before anything is allocated for it, a union index names a branch, a boolean is 0 or 1, numbers fit, text is UTF-8,
and nothing is left over. fastavro alone takes a length of 2^40 at its word and does not look behind the last field.
What has the usual form is read by `reading.py`, in one walk; the rest is walked here first, then read by fastavro.
Ranges and closed sets are not judged here but on columns (`ranges.py`).
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import fastavro

from schemas import registry
from schemas.codecs.reading import LONGEST_VARINT, UnusualError, reader
from schemas.codecs.writing import columns_writer, writer
from schemas.errors import Reason
from schemas.events import AgentSpan, ClusterEvent, MetricPoint
from schemas.incidents import NESTED_FIELDS, Incident
from schemas.registry import HEADER_BYTES, Schema
from schemas.signals import RECORDS, Forgetting, Gap, Marker, Reduced, Row, compact_json

NAMES = {kind: name for name, kind in RECORDS.items()}
REDUCED = attrgetter("source", "pane", "run", "row")


class UnreadableError(Exception):
    """A message that no reader of ours can read: why, and what to do about it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def encode(record_name: str, value: Mapping[str, Any], folder: Path = registry.FOLDER) -> bytes:
    """The message of one record in the newest version of its schema; absent fields get their defaults.

    Raises ValueError or TypeError where the value does not fit: that is a fault of the caller.
    """
    schema = registry.newest(record_name, folder)
    out = io.BytesIO()
    out.write(schema.header)
    fastavro.schemaless_writer(out, schema.parsed, value, strict_allow_default=True)
    return out.getvalue()


def encode_row(record_name: str, row: Mapping[str, Any]) -> bytes:
    """As `encode`, in half the time: nothing is looked up in the schema. For rows that are made by the thousand.

    Raises ValueError, TypeError or AttributeError where a value does not fit, or is of no field.
    """
    defaults, write = _row_writer(record_name)
    return write({**defaults, **row}.values())


def encode_columns(record_name: str, columns: Mapping[str, Sequence[Any]]) -> list[bytes]:
    """The messages of rows that are columns: all fields of the newest version. Raises as `encode_row` does."""
    schema = registry.newest(record_name)
    return columns_writer(schema)([columns[field.name] for field in schema.fields])


@cache
def _row_writer(record_name: str) -> tuple[dict[str, Any], Callable[[Iterable[Any]], bytes]]:
    schema = registry.newest(record_name)
    return {field.name: field.default for field in schema.fields}, writer(schema)


def decode(data: bytes, folder: Path = registry.FOLDER) -> tuple[str, dict[str, Any]]:
    """The record's name and its fields, resolved to the newest version. Raises UnreadableError."""
    schema = writer_of(data, folder)
    newest = registry.newest(schema.name, folder)
    if newest is schema:
        with suppress(UnusualError):
            return schema.name, reader(schema)(data)
    check(data, schema)
    stream = io.BytesIO(data)
    stream.seek(HEADER_BYTES)
    resolved = None if newest.fingerprint == schema.fingerprint else newest.parsed
    try:
        value: dict[str, Any] = fastavro.schemaless_reader(stream, schema.parsed, resolved)
    except UnicodeDecodeError as error:
        raise UnreadableError(
            Reason.INVALID_UTF8, f"text is not UTF-8 ({error.reason}); encode strings as UTF-8"
        ) from None
    return schema.name, value


def writer_of(data: bytes, folder: Path = registry.FOLDER) -> Schema:
    """The schema a message says it was written with. Raises UnreadableError."""
    if not data.startswith(registry.MAGIC):
        raise UnreadableError(
            Reason.UNKNOWN_ENCODING,
            f"begins with {data[:4].hex(' ')}; send Avro single-object encoding (C3 01 ...) or a JSON object",
        )
    if len(data) < HEADER_BYTES:
        raise UnreadableError(
            Reason.TRUNCATED, f"{len(data)} bytes, the Avro header alone has {HEADER_BYTES}; send it whole"
        )
    schema = registry.by_fingerprint(folder).get(data[:HEADER_BYTES])
    if schema is None:
        raise UnreadableError(
            Reason.UNKNOWN_FINGERPRINT,
            f"schema {data[2:HEADER_BYTES].hex()} is not one of schemas/avro; write with one of those, or upgrade",
        )
    return schema


def check(data: bytes, schema: Schema) -> None:
    """Walk the bytes of one message without building a value. Raises UnreadableError at the first fault."""
    at, end = HEADER_BYTES, len(data)
    for field in schema.fields:
        name, kind = field.name, field.type
        if field.is_nullable:
            branch, at = _number(data, at, end, name)
            if branch == 0:
                continue
            if branch != 1:
                raise UnreadableError(
                    Reason.MALFORMED, f"{name}: union branch {branch} does not exist; use 0 (null) or 1"
                )
        if kind == "string" or kind == "bytes":
            length, at = _number(data, at, end, name)
            if length < 0:
                raise UnreadableError(Reason.MALFORMED, f"{name}: a length of {length}; it can't be negative")
            at += length
        elif kind == "long":
            _, at = _number(data, at, end, name)
        elif kind == "int":
            value, at = _number(data, at, end, name)
            if not -(2**31) <= value < 2**31:
                raise UnreadableError(Reason.MALFORMED, f"{name}: {value} does not fit into 32 bits")
        elif kind == "double":
            at += 8
        else:
            if at < end and data[at] > 1:
                raise UnreadableError(Reason.MALFORMED, f"{name}: a boolean of {data[at]}; it is 0 or 1")
            at += 1
        if at > end:
            raise UnreadableError(
                Reason.TRUNCATED, f"{name}: ends {at - end} bytes behind the end of the message; send it whole"
            )
    if at < end:
        raise UnreadableError(
            Reason.TRAILING_BYTES, f"{end - at} bytes behind the last field; send one record a message"
        )


def encode_event(event: AgentSpan | MetricPoint | ClusterEvent) -> bytes:
    """The message of one event, as it stands on its topic."""
    return encode(event.record, event.__dict__)


def encode_record(obj: Row | Marker | Gap | Forgetting | Reduced) -> bytes:
    """The message of one internal record; a Reduced holds its row in the same encoding."""
    if isinstance(obj, Reduced):
        return writer(registry.newest("reduced_row"))((obj.source, obj.pane, obj.run, encode_record(obj.row)))
    schema, values = _written(NAMES[type(obj)])
    return writer(schema)(values(obj))


def encode_records(objects: Sequence[Row | Marker | Gap | Forgetting | Reduced]) -> list[bytes]:
    """The messages of many internal records, as `encode_record` has them: those of one kind are written as columns."""
    found: list[bytes] = [b""] * len(objects)
    by_kind: dict[type[Any], list[int]] = {}
    for place, obj in enumerate(objects):
        by_kind.setdefault(type(obj), []).append(place)
    for kind, places in by_kind.items():
        own = [objects[place] for place in places]
        if kind is Reduced:
            schema, columns = registry.newest("reduced_row"), _reduced_columns(own)
        else:
            schema, values = _written(NAMES[kind])
            columns = list(zip(*map(values, own), strict=True))
        for place, data in zip(places, columns_writer(schema)(columns), strict=True):
            found[place] = data
    return found


def _reduced_columns(objects: Sequence[Any]) -> list[Sequence[Any]]:
    sources, panes, runs, rows = zip(*map(REDUCED, objects), strict=True)
    return [sources, panes, runs, encode_records(rows)]


@cache
def _written(name: str) -> tuple[Schema, Callable[[Any], Iterable[Any]]]:
    """The schema of a record, and what takes an object's values out in the order of its fields."""
    schema = registry.newest(name)
    return schema, attrgetter(*(field.name for field in schema.fields))


def decode_record(data: bytes) -> Reduced | Marker | Gap | Forgetting:
    """What stands on signals.v1: a row with its source, pane and run, or what is no row. Raises UnreadableError."""
    name, value = decode(data)
    if name == "marker":
        return Marker(**value)
    if name == "gap":
        return Gap(**value)
    if name == "forgetting":
        return Forgetting(**value)
    row = _row(_row_bytes(name, value))
    return Reduced(**value, row=row)


def decode_rows(values: Iterable[bytes], *wanted: type[Row]) -> list[Row]:
    """The rows of these kinds among messages of signals.v1; others are not read further than they say what they are.

    Most rows are actions, the longest there are, and only correlate wants those. Raises UnreadableError.
    """
    found = []
    for data in values:
        if writer_of(data).name != "reduced_row":
            continue
        row = _row_bytes(*decode(data))
        if RECORDS.get(writer_of(row).name) in wanted:
            found.append(_row(row))
    return found


def _row_bytes(name: str, value: dict[str, Any]) -> bytes:
    if name != "reduced_row":
        raise UnreadableError(Reason.WRONG_TYPE, f"a {name} where a reduced_row, a marker or a gap belongs")
    data: bytes = value.pop("row")
    return data


def _row(data: bytes) -> Row:
    name, row = decode(data)
    kind = RECORDS.get(name)
    if kind is None or kind in (Marker, Gap, Forgetting):
        raise UnreadableError(Reason.WRONG_TYPE, f"a {name} inside a reduced_row")
    return kind(**row)  # type: ignore[return-value]  # those that are no rows are ruled out above


def encode_incident(incident: Incident) -> bytes:
    """One revision of an incident; its nested parts become JSON text, so that the schema stays flat."""
    nested = incident.model_dump(mode="json", by_alias=True, include=set(NESTED_FIELDS))
    value: dict[str, Any] = {name: getattr(incident, name) for name in Incident.model_fields}
    value |= {name: None if part is None else compact_json(part) for name, part in nested.items()}
    return encode("incident", value)


def decode_incident(data: bytes) -> Incident:
    """Raises UnreadableError, and pydantic's ValidationError where a nested part is not what it should be."""
    name, value = decode(data)
    if name != "incident":
        raise UnreadableError(Reason.WRONG_TYPE, f"a {name} where an incident belongs")
    for part in NESTED_FIELDS:
        if value[part] is not None:
            value[part] = json.loads(value[part])
    return Incident.model_validate(value)


def _number(data: bytes, at: int, end: int, name: str) -> tuple[int, int]:
    """A zig-zag varint and where it ends."""
    if at < end and data[at] < 0x80:  # most are one byte
        return (data[at] >> 1) ^ -(data[at] & 1), at + 1
    value = shift = 0
    for index in range(at, min(end, at + LONGEST_VARINT)):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return (value >> 1) ^ -(value & 1), index + 1
        shift += 7
    if at + LONGEST_VARINT > end and shift == 7 * (end - at):
        raise UnreadableError(Reason.TRUNCATED, f"{name}: the message ends inside a number; send it whole")
    raise UnreadableError(Reason.MALFORMED, f"{name}: a number of more than 64 bits")
