"""Avro single-object encoding of the four records that the client reads and writes, with the schemas of Aftermath."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

MAGIC = b"\xc3\x01"
HEADER_BYTES = 10
FOLDER = Path(__file__).parent / "avro"


class UnreadableError(ValueError):
    """A message of another schema, or a damaged one."""


def _load(path: Path) -> tuple[str, bytes, Any]:
    text = json.loads(path.read_text())
    header = MAGIC + bytes.fromhex(fingerprint(to_parsing_canonical_form(text), "CRC-64-AVRO"))
    return path.name.split(".")[0], header, fastavro.parse_schema(text)


_SCHEMAS = [_load(path) for path in sorted(FOLDER.glob("*.avsc"))]
_BY_HEADER = {header: (name, schema) for name, header, schema in _SCHEMAS}
_BY_NAME = {name: (header, schema) for name, header, schema in _SCHEMAS}  # the newest version comes last


def encode(name: str, value: Mapping[str, Any]) -> bytes:
    """The message of a record; absent fields get their defaults."""
    header, schema = _BY_NAME[name]
    out = io.BytesIO()
    out.write(header)
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


def decode(data: bytes) -> tuple[str, dict[str, Any]]:
    """The record's name and fields. Raises UnreadableError."""
    found = _BY_HEADER.get(data[:HEADER_BYTES])
    if found is None:
        raise UnreadableError(f"a schema this client does not know ({data[:HEADER_BYTES].hex()}); upgrade it")
    name, schema = found
    stream = io.BytesIO(data)
    stream.seek(HEADER_BYTES)
    try:
        value: dict[str, Any] = fastavro.schemaless_reader(stream, schema, None)
    except (EOFError, ValueError, IndexError, TypeError, OverflowError, MemoryError) as error:
        raise UnreadableError(f"a damaged {name}: {error}") from error
    return name, value
