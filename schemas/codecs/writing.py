"""Writes messages of one flat schema from values in the order of its fields.

What detect sends is mostly actions, of 31 fields each; fastavro, which also looks up what a schema is, takes twice as
long for one. The bytes are those that fastavro writes (a test holds them equal).
"""

import struct
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

from schemas.registry import Field, Schema

Write = Callable[[Any], bytes]
NULL, SOME = b"\0", b"\x02"  # branches of a union with null


@cache
def writer(schema: Schema) -> Callable[[Iterable[Any]], bytes]:
    """A function that writes one message: header and fields.

    It raises TypeError, AttributeError or ValueError where a value does not fit: that is a fault of the caller.
    """
    writers = [_field(field) for field in schema.fields]
    nulls = [NULL if field.is_nullable else None for field in schema.fields]
    header = schema.header

    def write(values: Iterable[Any]) -> bytes:
        # half of the fields are null; where null is no value, joining it raises the TypeError
        found = zip(writers, nulls, values, strict=True)
        parts = [null if value is None else own(value) for own, null, value in found]
        return header + b"".join(parts)  # type: ignore[arg-type]

    return write


def _field(field: Field) -> Write:
    """What writes a value of a field that is not null."""
    if not field.is_nullable:
        return WRITERS[field.type]
    if field.type == "string":
        return _some_text
    return partial(_some, WRITERS[field.type])


def _some(write: Write, value: Any) -> bytes:
    return SOME + write(value)


def _some_text(value: str) -> bytes:  # written out, since most fields are this
    data = value.encode()
    return (SOME_SIZES[len(data)] if len(data) < FEW else SOME + _number(len(data))) + data


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def _bytes(data: bytes) -> bytes:
    return (SIZES[len(data)] if len(data) < FEW else _number(len(data))) + data


def _number(value: int, bits: int = 64) -> bytes:
    """A zig-zag varint."""
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise ValueError(f"{value} does not fit into {bits} bits")
    left = (value << 1) ^ (value >> bits)
    out = bytearray()
    while left > 127:
        out.append(left & 127 | 128)
        left >>= 7
    out.append(left)
    return bytes(out)


def _boolean(value: bool) -> bytes:
    return b"\1" if value else b"\0"


FEW = 4_096  # bytes of a text whose length is looked up
SIZES = [_number(size) for size in range(FEW)]
SOME_SIZES = [SOME + size for size in SIZES]
WRITERS: dict[str, Write] = {
    "string": _text,
    "bytes": _bytes,
    "long": _number,
    "int": partial(_number, bits=32),
    "double": struct.Struct("<d").pack,
    "boolean": _boolean,
}
