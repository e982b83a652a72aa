"""The Avro schemas of `schemas/avro`: every version of each, by name and by fingerprint.

A file is `<name>.v<N>.avsc`; the highest N is what we write and read as. Schemas are flat (no maps, no arrays, no
nested records), so that a batch of messages decodes straight to columns, and they grow by fields with defaults only.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
from fastavro.schema import fingerprint, to_parsing_canonical_form

FOLDER = Path(__file__).parent / "avro"
MAGIC = b"\xc3\x01"  # Avro single-object encoding
HEADER_BYTES = 10  # with the fingerprint of the schema
PLAIN_TYPES = {
    "string": pl.String,
    "bytes": pl.Binary,
    "long": pl.Int64,
    "int": pl.Int32,
    "double": pl.Float64,
    "boolean": pl.Boolean,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its Avro type, whether it may be null, and its default (`required` where there is none)."""

    name: str
    type: str
    is_nullable: bool
    is_required: bool
    default: Any
    doc: str


@dataclass(frozen=True, eq=False)
class Schema:
    """One version of one record. One object a file: compared, and used as a key of caches, by identity."""

    name: str
    version: int
    text: dict[str, Any]
    parsed: Any
    fingerprint: bytes  # CRC-64-AVRO, little-endian, as it stands in the message
    fields: tuple[Field, ...]

    @property
    def header(self) -> bytes:
        """The ten bytes every message of this schema begins with."""
        return MAGIC + self.fingerprint

    @property
    def columns(self) -> dict[str, Any]:
        """Field name -> polars type, in the order of the schema."""
        return {field.name: PLAIN_TYPES[field.type] for field in self.fields}


def load(path: Path) -> Schema:
    """Read one schema file. Raises ValueError where it is not flat."""
    text = json.loads(path.read_text())
    name, version, _ = path.name.split(".")
    fields = []
    for item in text["fields"]:
        kind = item["type"]
        is_nullable = isinstance(kind, list)
        if is_nullable:
            if len(kind) != 2 or kind[0] != "null":
                raise ValueError(f"{path.name}: {item['name']}: a union must be null and one plain type, null first")
            kind = kind[1]
        if not isinstance(kind, str) or kind not in PLAIN_TYPES:
            raise ValueError(f"{path.name}: {item['name']}: {kind!r} is not one of {sorted(PLAIN_TYPES)}")
        fields.append(
            Field(
                item["name"],
                kind,
                is_nullable,
                "default" not in item,
                item.get("default"),
                item.get("doc", ""),
            )
        )
    canonical = to_parsing_canonical_form(text)
    crc = bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))
    return Schema(name, int(version[1:]), text, fastavro.parse_schema(text), crc, tuple(fields))


@cache
def names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Every record there is a schema of."""
    return tuple(sorted({path.name.split(".")[0] for path in folder.glob("*.avsc")}))


@cache
def versions(name: str, folder: Path = FOLDER) -> tuple[Schema, ...]:
    """Every version of a schema, oldest first."""
    found = (load(path) for path in folder.glob(f"{name}.v*.avsc"))
    return tuple(sorted(found, key=lambda schema: schema.version))


@cache
def newest(name: str, folder: Path = FOLDER) -> Schema:
    """The version we write and read as."""
    return versions(name, folder)[-1]


@cache
def by_fingerprint(folder: Path = FOLDER) -> dict[bytes, Schema]:
    """Ten header bytes -> schema, over all versions of all records."""
    return {schema.header: schema for name in names(folder) for schema in versions(name, folder)}


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """Why messages of one version cannot be read as the other, in either direction; empty where they can.

    Stricter than Avro: a column keeps its type for ever, since a batch may hold messages of several versions and
    becomes one frame.
    """
    faults = []
    before = {field.name: field for field in old.fields}
    after = {field.name: field for field in new.fields}
    for name in before.keys() | after.keys():
        if name not in after:
            faults.append(f"{new.name}.v{new.version}: {name} is gone; keep it, and mark it as unused in its doc")
        elif name not in before:
            if after[name].is_required:
                faults.append(f"{new.name}.v{new.version}: {name} is new and has no default; give it one")
        elif (before[name].type, before[name].is_nullable) != (after[name].type, after[name].is_nullable):
            faults.append(f"{new.name}.v{new.version}: {name} changed its type; add a field of a new name instead")
        elif before[name].default != after[name].default or before[name].is_required != after[name].is_required:
            faults.append(f"{new.name}.v{new.version}: {name} changed its default; leave it as it is")
    return sorted(faults)
