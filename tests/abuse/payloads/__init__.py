"""The corpora: small files, read here, so that adding a payload needs no code.

messages.jsonl   bytes for an input topic and the reason they must be refused with (null: they are events)
texts.jsonl      text for any field: SQL, HTML, terminal, templates, formats, controls
statements.jsonl SQL for the embedded port, all of which must be refused
secrets.jsonl    forms of secrets; `{}` is where the canary goes
addresses.txt    spellings of addresses that are not public
yaml/            files that must not be read as rules or limits
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.codecs.single import encode
from schemas.registry import newest
from tests.builders import event, metric, span

FOLDER = Path(__file__).parent
YAML = FOLDER / "yaml"
BUILDERS = {
    "agent_span": lambda fields: span(0, **fields),
    "metric_point": lambda fields: metric(0, **({"value": 1.0} | fields)),
    "cluster_event": lambda fields: event(
        0,
        fields.pop("event_id", "e-1"),
        fields.pop("kind", "deploy"),
        fields.pop("resource", "c/n/deployment/x"),
        **fields,
    ),
}
NUMBERS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


@dataclass(frozen=True, slots=True)
class Payload:
    """One message: what it tries, where it goes, its bytes, and why it must be refused."""

    name: str
    topic: str
    value: bytes
    reason: str | None


def _lines(name: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if line.strip())


def messages() -> list[Payload]:
    """Parts are put one behind the other; see `_part` for what a part may be."""
    return [
        Payload(item["name"], item["topic"], _bytes(item["parts"]), item["reason"]) for item in _lines("messages.jsonl")
    ]


def texts() -> dict[str, str]:
    """Name -> text."""
    return {item["name"]: item["text"] * item.get("times", 1) for item in _lines("texts.jsonl")}


def statements() -> list[str]:
    return [item["sql"] for item in _lines("statements.jsonl")]


def secrets() -> dict[str, str]:
    """Name -> a form with `{}` in it."""
    return {item["name"]: item["text"] for item in _lines("secrets.jsonl")}


def addresses() -> list[str]:
    lines = (FOLDER / "addresses.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _bytes(parts: list[list[Any]]) -> bytes:
    found = b""
    for kind, *given in parts:
        if kind == "replace":
            old, new = (bytes.fromhex(text) for text in given)
            if old not in found:
                raise ValueError(f"nothing to replace: {given}")
            found = found.replace(old, new)
        elif kind == "cut":
            found = found[: given[0]]
        else:
            found += _part(kind, *given)
    return found


def _part(kind: str, what: str, times_or_fields: Any = None) -> bytes:
    """header: of a record's schema. hex, text: as they are, repeated. avro, json: an event, with these fields."""
    if kind == "header":
        return newest(what).header
    if kind == "hex":
        return bytes.fromhex(what) * (times_or_fields or 1)
    if kind == "text":
        return what.encode() * (times_or_fields or 1)
    fields = {name: _value(value) for name, value in (times_or_fields or {}).items()}
    row = BUILDERS[what](fields)
    if kind == "avro":
        return encode(what, {name: value for name, value in row.items() if name != "type"})
    if kind == "json":
        return json.dumps(row).encode()
    raise ValueError(f"no part is called {kind}")


def _value(value: Any) -> Any:
    """A text of `x*1000` is x a thousand times; nan and inf are numbers, and so is 2**63-1."""
    if not isinstance(value, str):
        return value
    if value in NUMBERS:
        return NUMBERS[value]
    if found := re.fullmatch(r"(-?)2\*\*(\d+)(-1)?", value):
        number = 2 ** int(found[2]) - (1 if found[3] else 0)
        return -number if found[1] else number
    if found := re.fullmatch(r"(.)\*(\d+)", value):
        return found[1] * int(found[2])
    return value
