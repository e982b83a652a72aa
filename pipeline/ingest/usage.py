"""Token counts of one model call: as numbers, as text, or inside a value that holds them all.

AgentSpan's input_tokens include what came from a cache. OpenTelemetry says the same; Anthropic's own counts do not, and
who passes those on unchanged has a part that is greater than the whole: then the parts are added to it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from pipeline.ingest import names
from schemas.codecs.nesting import is_too_deep
from schemas.events import COUNT_LIMIT

FIELDS: Final = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
COUNTED: Final = (*FIELDS, "cache_write_tokens")
PARTS: Final = COUNTED[2:]  # of the two others
LARGEST_BLOB: Final = 1_000_000
MOST_LEVELS: Final = 4
NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.0+)?")


def count(value: Any) -> int:
    """A count however it was written; 0 where it is none, or negative."""
    if type(value) is int:  # most are
        return value if 0 <= value < COUNT_LIMIT else 0
    if value is None or isinstance(value, bool):
        return 0
    if isinstance(value, str):
        value = float(value) if NUMBER.fullmatch(value) else 0
    if isinstance(value, float):
        value = int(value) if 0 <= value < COUNT_LIMIT else 0
    return value if isinstance(value, int) and 0 <= value < COUNT_LIMIT else 0


def counts(found: Mapping[str, Any]) -> dict[str, int]:
    """The four counts of a row, out of the fields that the attributes name."""
    if "input_tokens" not in found and "output_tokens" not in found:
        found = _in_a_value(found.get("usage")) or _in_a_value(found.get("result")) or found
    return dict(zip(FIELDS, settled(*(count(found.get(name)) for name in COUNTED)), strict=True))


def settled(read: int, written: int, cached: int, reasoning: int, stored: int) -> tuple[int, int, int, int]:
    """The four counts of a row; a part that is greater than its whole was left out of it."""
    if cached + stored > read:
        read = min(read + cached + stored, COUNT_LIMIT - 1)
    if reasoning > written:
        written = min(written + reasoning, COUNT_LIMIT - 1)
    return read, written, cached, reasoning


def _in_a_value(value: Any) -> dict[str, Any]:
    """The counts that a value holds: itself, or below a key that says so."""
    if isinstance(value, str):
        # a text of a megabyte is parsed only where it can hold counts
        if not value.startswith("{") or len(value) > LARGEST_BLOB or "token" not in value.lower() or is_too_deep(value):
            return {}
        try:
            value = orjson.loads(value)
        except ValueError:
            return {}
    return _search(value, MOST_LEVELS)


def _search(value: Any, levels: int) -> dict[str, Any]:
    if not isinstance(value, dict) or not levels:
        return {}
    for key in names.USAGE_KEYS:
        inner = value.get(key)
        if isinstance(inner, dict) and (found := _read(inner)):
            return found
    if found := _read(value):
        return found
    for inner in value.values():
        if isinstance(inner, dict) and (found := _search(inner, levels - 1)):
            return found
    return {}


def _read(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of one usage object, its details included; empty where it has neither input nor output."""
    whole = dict(usage)
    for name in names.USAGE_DETAILS:
        details = usage.get(name)
        if isinstance(details, dict):
            whole = {**details, **whole}
    found = {
        field: value
        for field, keys in names.USAGE.items()
        if (value := next((whole[key] for key in keys if count(whole.get(key))), None)) is not None
    }
    return found if "input_tokens" in found or "output_tokens" in found else {}
