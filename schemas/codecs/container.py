"""Messages of one schema -> columns, in one call: joined into an Avro object container and read by polars.

A single-object message is its header and its fields, one after the other, which is how records stand in the block of
a container. So the messages are joined as they are, and the container's schema gets two fields in front: C3 01 is
the Avro long -98, and eight bytes of fingerprint are a double. A sentinel record closes the block, since polars does
not notice bytes that are left over at its end: a message of two records would push the last one out. `proof.py`
says why what is then believed is exact.

A length out of range ends in a Rust panic, which Python sees as a BaseException; it is caught round the one call.
"""

import io
import json
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import fastavro
import polars as pl

from schemas.codecs.proof import is_exact
from schemas.codecs.single import HEADER_BYTES
from schemas.registry import Schema

MAGIC_LONG = -98  # C3 01 read as a zig-zag varint
SYNC = b"aftermath.blocks"  # sixteen bytes that close a block
HEADER_FIELDS = ({"name": "_magic", "type": "long"}, {"name": "_fingerprint", "type": "double"})
# what no event holds, so that a message does not end in one by chance
SENTINEL: Mapping[str, Any] = {
    "string": "\0sentinel",
    "bytes": b"\0sentinel",
    "long": -(2**62) - 79,
    "int": -(2**30) - 79,
    "double": -7.9e-79,
    "boolean": True,
}


def read_block(messages: Sequence[bytes], schema: Schema) -> pl.DataFrame | None:
    """One row a message, in the columns of their schema; None where they cannot be read, or not be proven."""
    sentinel = _sentinel(schema)
    data = b"".join([*messages, sentinel])
    count = len(messages) + 1
    stream = io.BytesIO(b"".join((_opening(schema), varint(count), varint(len(data)), data, SYNC)))
    try:
        frame = pl.read_avro(stream)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # a panic is no Exception; whatever it was, the caller takes smaller steps
        return None
    if frame.height != count or frame.row(-1) != _sentinel_row(schema):
        return None
    magic, fingerprint = frame["_magic"], frame["_fingerprint"]
    if not (magic == MAGIC_LONG).all() or not (fingerprint == _fingerprint(schema)).all():
        return None
    rows = frame[:-1, len(HEADER_FIELDS) :]
    return rows if is_exact(rows, schema, [len(value) for value in messages], data, HEADER_BYTES) else None


@cache
def _opening(schema: Schema) -> bytes:
    """An object container of this schema up to its first block."""
    plain = [{"name": field["name"], "type": field["type"]} for field in schema.text["fields"]]
    record = {"type": "record", "name": schema.text["name"], "fields": [*HEADER_FIELDS, *plain]}
    pairs = {b"avro.schema": json.dumps(record).encode(), b"avro.codec": b"null"}
    metadata = b"".join(varint(len(part)) + part for pair in pairs.items() for part in pair)
    return b"Obj\x01" + varint(len(pairs)) + metadata + b"\0" + SYNC


def _sentinel_fields(schema: Schema) -> dict[str, Any]:
    return {field.name: None if field.is_nullable else SENTINEL[field.type] for field in schema.fields}


@cache
def _sentinel(schema: Schema) -> bytes:
    out = io.BytesIO()
    out.write(schema.header)
    fastavro.schemaless_writer(out, schema.parsed, _sentinel_fields(schema))
    return out.getvalue()


@cache
def _sentinel_row(schema: Schema) -> tuple[Any, ...]:
    """The row of a frame that the sentinel is read as."""
    return (MAGIC_LONG, _fingerprint(schema), *_sentinel_fields(schema).values())


def _fingerprint(schema: Schema) -> float:
    number: float = struct.unpack("<d", schema.fingerprint)[0]
    return number


def varint(number: int) -> bytes:
    """The zig-zag varint of a number >= 0."""
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
