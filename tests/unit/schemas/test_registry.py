"""Every version of a schema against every other, and that the files say what they must."""

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import fastavro
import pytest

from schemas import registry
from schemas.codecs import Batch, single
from schemas.codecs.blocks import decode_batch
from schemas.registry import incompatibilities
from tests.builders import at, span

EVERY = [schema for name in registry.names() for schema in registry.versions(name)]
PAIRS = [
    pytest.param(old, new, id=f"{old.name}.v{old.version}-as-v{new.version}")
    for name in registry.names()
    for old in registry.versions(name)
    for new in registry.versions(name)
]
RECORDED = Path(__file__).with_name("recorded_messages.json")
SAMPLES = {"string": "text", "bytes": b"\x00\xff", "long": 79, "int": 7, "double": 0.5, "boolean": True}


def copy_of(name: str, folder: Path, version: int, change: Any = None) -> registry.Schema:
    """A schema of ours as this version in another folder, with `change` done to its list of fields."""
    text = json.loads((registry.FOLDER / f"{name}.v1.avsc").read_text())
    if change is not None:
        change(text["fields"])
    path = folder / f"{name}.v{version}.avsc"
    path.write_text(json.dumps(text))
    return registry.load(path)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_every_version_of_a_schema_is_compatible_with_every_other(old: registry.Schema, new: registry.Schema) -> None:
    older, newer = sorted((old, new), key=lambda schema: schema.version)
    assert incompatibilities(older, newer) == []


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_a_message_of_any_version_is_read_as_any_other(old: registry.Schema, new: registry.Schema) -> None:
    value = {field.name: SAMPLES[field.type] for field in old.fields}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, old.parsed, value)
    out.seek(0)
    read = fastavro.schemaless_reader(out, old.parsed, new.parsed)
    assert read == {field.name: value.get(field.name, field.default) for field in new.fields}


def as_recorded(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def recorded() -> dict[str, dict[str, Any]]:
    """Schema and version -> a message as that version wrote it, and its fields. UPDATE_GOLDEN=1 adds those of a new
    version, and never changes what is there."""
    found: dict[str, dict[str, Any]] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        for schema in EVERY:
            value = {field.name: SAMPLES[field.type] for field in schema.fields}
            out = io.BytesIO(schema.header)
            out.seek(len(schema.header))
            fastavro.schemaless_writer(out, schema.parsed, value)
            entry = {
                "message": base64.b64encode(out.getvalue()).decode(),
                "fields": {name: as_recorded(item) for name, item in value.items()},
            }
            found.setdefault(f"{schema.name}.v{schema.version}", entry)
        RECORDED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    return found


@pytest.mark.fault("F46")
def test_what_every_version_so_far_has_written_is_read_today() -> None:
    messages = recorded()
    assert messages.keys() == {f"{schema.name}.v{schema.version}" for schema in EVERY}
    for key, entry in messages.items():
        name, read = single.decode(base64.b64decode(entry["message"]))
        newest = registry.newest(name)
        assert key.startswith(f"{name}.v")
        expected = {field.name: entry["fields"].get(field.name, field.default) for field in newest.fields}
        assert {name: as_recorded(value) for name, value in read.items()} == expected, key


@pytest.mark.parametrize("schema", EVERY, ids=lambda schema: f"{schema.name}.v{schema.version}")
def test_every_field_is_documented(schema: registry.Schema) -> None:
    assert schema.text["doc"]
    assert [field.name for field in schema.fields if len(field.doc) < 5] == []


@pytest.mark.parametrize("schema", EVERY, ids=lambda schema: f"{schema.name}.v{schema.version}")
def test_a_nullable_field_defaults_to_null(schema: registry.Schema) -> None:
    assert [f.name for f in schema.fields if f.is_nullable and (f.is_required or f.default is not None)] == []


def test_fingerprints_tell_all_schemas_apart() -> None:
    assert len(registry.by_fingerprint()) == len(EVERY)


def test_the_fingerprint_is_the_little_endian_one_of_the_avro_specification(tmp_path: Path) -> None:
    # computed from the specification's own algorithm, not by the library that the registry uses
    schema = registry.newest("marker")
    text = (
        '{"name":"aftermath.Marker","type":"record","fields":[{"name":"source","type":"string"},'
        '{"name":"pane","type":"long"},{"name":"run","type":"string"},{"name":"rows","type":"long"}]}'
    )
    empty = 0xC15D213AA4D7A795
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = (value >> 1) ^ (empty & -(value & 1))
        table.append(value)
    crc = empty
    for byte in text.encode():
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    assert schema.fingerprint == crc.to_bytes(8, "little")


@pytest.mark.parametrize(
    "kind", [{"type": "map", "values": "string"}, {"type": "array", "items": "long"}, ["string", "null"], "float"]
)
def test_a_schema_that_is_not_flat_is_refused(tmp_path: Path, kind: Any) -> None:
    def change(fields: list[dict[str, Any]]) -> None:
        fields.append({"name": "bag", "type": kind, "doc": "free-form"})

    with pytest.raises(ValueError, match="bag"):
        copy_of("marker", tmp_path, 1, change)


def test_a_new_field_with_a_default_is_compatible(tmp_path: Path) -> None:
    old = copy_of("marker", tmp_path, 1)
    new = copy_of(
        "marker", tmp_path, 2, lambda fields: fields.append({"name": "late_rows", "type": "long", "default": 0})
    )
    assert incompatibilities(old, new) == []


def without_default(fields: list[dict[str, Any]]) -> None:
    fields.append({"name": "late_rows", "type": "long"})


def gone(fields: list[dict[str, Any]]) -> None:
    del fields[3]


def retyped(fields: list[dict[str, Any]]) -> None:
    fields[3]["type"] = "double"


def made_nullable(fields: list[dict[str, Any]]) -> None:
    fields[0]["type"] = ["null", "string"]
    fields[0]["default"] = None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_default, "late_rows is new and has no default"),
        (gone, "rows is gone"),
        (retyped, "rows changed its type"),
        (made_nullable, "source changed its type"),
    ],
)
def test_an_incompatible_change_is_named(tmp_path: Path, change: Any, said: str) -> None:
    old = copy_of("marker", tmp_path, 1)
    new = copy_of("marker", tmp_path, 2, change)
    faults = incompatibilities(old, new)
    assert len(faults) == 1
    assert said in faults[0]


def test_messages_of_two_versions_in_one_batch_become_one_frame_with_defaults(tmp_path: Path) -> None:
    copy_of("agent_span", tmp_path, 1)

    def change(fields: list[dict[str, Any]]) -> None:
        fields.insert(3, {"name": "region", "type": "string", "default": "eu", "doc": "where it ran"})
        fields.append({"name": "retries", "type": ["null", "long"], "default": None, "doc": "how often"})

    copy_of("agent_span", tmp_path, 2, change)
    rows = [span(n) for n in range(4)]
    for row in rows:
        del row["type"]
    values = [
        single.encode("agent_span", rows[0]),  # version 1, the only one of the folder in use
        single.encode("agent_span", rows[1] | {"region": "us", "retries": 2}, tmp_path),
        single.encode("agent_span", rows[2]),
        single.encode("agent_span", rows[3], tmp_path),
    ]
    batch = Batch("agent.traces.v1", 0, [0, 1, 2, 3], [at(9)] * 4, [None] * 4, values)
    decoded = decode_batch(batch, "agent_span", tmp_path)
    assert decoded.rejected == ()
    assert decoded.frame["region"].to_list() == ["eu", "us", "eu", "eu"]
    assert decoded.frame["retries"].to_list() == [None, 2, None, None]
    assert decoded.frame["span_id"].to_list() == ["span-0", "span-1", "span-2", "span-3"]
    assert single.decode(values[0], tmp_path)[1]["region"] == "eu"
