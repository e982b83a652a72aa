"""Reads messages of one flat schema in their usual form: every check and every value in one walk over the bytes.

What stands on `signals.v1` is read one message at a time, twice (correlate, record), and each is a row inside a row.
`check` and then fastavro walk it twice, which takes three times as long. Here whatever is not in the usual form is
left to them: they say what is wrong with it, or that nothing is.
"""

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from schemas.registry import HEADER_BYTES, Schema

LONGEST_VARINT = 10  # bytes of a 64-bit number, seven bits each
_double = struct.Struct("<d").unpack_from


class UnusualError(Exception):
    """Not in the usual form: cut, malformed, or written in another way than ours."""


@cache
def reader(schema: Schema) -> Callable[[bytes], dict[str, Any]]:
    """A function that reads one message with this schema's header; it raises UnusualError."""
    fields = [(field.name, field.type, field.is_nullable) for field in schema.fields]

    def read(data: bytes) -> dict[str, Any]:
        values: dict[str, Any] = {}
        at, end = HEADER_BYTES, len(data)
        try:
            for name, kind, is_nullable in fields:
                if is_nullable:
                    branch = data[at]
                    at += 1
                    if branch == 0:
                        values[name] = None
                        continue
                    if branch != 2:
                        raise UnusualError
                if kind == "double":
                    values[name] = _double(data, at)[0]
                    at += 8
                    continue
                byte = data[at]
                at += 1
                if kind == "boolean":
                    if byte > 1:
                        raise UnusualError
                    values[name] = byte == 1
                    continue
                number = byte & 0x7F
                shift = 7
                while byte > 0x7F:
                    if shift == 7 * LONGEST_VARINT:  # a megabyte of such bytes would take a minute
                        raise UnusualError
                    byte = data[at]
                    at += 1
                    number |= (byte & 0x7F) << shift
                    shift += 7
                if shift > 63 and number >> 64:
                    raise UnusualError
                number = (number >> 1) ^ -(number & 1)
                if kind == "string" or kind == "bytes":
                    stop = at + number
                    if number < 0 or stop > end:
                        raise UnusualError
                    values[name] = data[at:stop].decode() if kind == "string" else data[at:stop]
                    at = stop
                elif kind == "int" and not -(2**31) <= number < 2**31:
                    raise UnusualError
                else:
                    values[name] = number
        except (IndexError, struct.error, UnicodeDecodeError):
            raise UnusualError from None
        if at != end:
            raise UnusualError
        return values

    return read
