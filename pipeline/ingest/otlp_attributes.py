"""Attributes of OTLP protobuf -> names and values.

Each is a KeyValue, and those that differ from span to span are mostly a short name with a short text or a count: they
are read by hand, in half to two thirds of the time of protobuf's own objects. Equal bytes, which most attributes of a
program are, are decoded once and remembered: a fifth to a third of it (`python -m bench.ingest_speed`). Whatever has
not the usual form goes to protobuf, which also says what is wrong with it.
"""

from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from pipeline.ingest.telemetry import DEEPEST_VALUE

Pair = tuple[str, Any]

REMEMBERED: Final = 16_384  # attributes; when there are so many, all are forgotten
REMEMBERED_BYTES: Final = 160  # of one of them: longer ones seldom come back
KNOWN: Final[dict[bytes, Pair]] = {}  # values in it are never changed
NAMES: Final[dict[bytes, str]] = {}  # one text for equal names: then dicts compare them by identity

# On the wire a tag is field << 3 | type. Of KeyValue: its key (0A), its value (12); of AnyValue: a text, an integer
KEY_TAG, VALUE_TAG, TEXT_TAG, INTEGER_TAG = 0x0A, 0x12, 0x0A, 0x18
MORE_BYTES: Final = 0x80  # a length from here on takes more than one byte, and so does a number
# All that stands between a key and its value, by the bytes of the AnyValue. A text says its own length, too
TEXT_HEADS: Final = [bytes([VALUE_TAG, left, TEXT_TAG, max(left - 2, 0)]) for left in range(MORE_BYTES)]
INTEGER_HEADS: Final = [bytes([VALUE_TAG, left, INTEGER_TAG]) for left in range(MORE_BYTES)]


def remembered(raw: bytes) -> Pair:
    """One attribute, into KNOWN where it may come back. Raises DecodeError."""
    pair = pair_of(raw)
    if len(raw) <= REMEMBERED_BYTES:
        if len(KNOWN) >= REMEMBERED:
            KNOWN.clear()
        KNOWN[raw] = pair
    return pair


def pair_of(raw: bytes) -> Pair:
    """One attribute. Raises DecodeError where it is no KeyValue."""
    if len(raw) > 6 and raw[0] == KEY_TAG and raw[1] < MORE_BYTES:
        value = 4 + raw[1]  # where the AnyValue begins: behind the key, its own tag and its length
        left = len(raw) - value
        if 2 <= left < MORE_BYTES:
            head = raw[value - 2 : value + 2]
            try:
                if head == TEXT_HEADS[left]:
                    return NAMES.get(raw[2 : value - 2]) or _name(raw[2 : value - 2]), raw[value + 2 :].decode()
                if head[:3] == INTEGER_HEADS[left] and (number := _count(raw, value + 1)) is not None:
                    return NAMES.get(raw[2 : value - 2]) or _name(raw[2 : value - 2]), number
            except UnicodeDecodeError:
                pass  # protobuf says what is wrong with it; suppress() would take longer than all of this
    pair = KeyValue.FromString(raw)
    return pair.key, value_of(pair.value)


def _name(raw: bytes) -> str:
    """The name of an attribute, into NAMES. Raises UnicodeDecodeError."""
    name = raw.decode()
    if len(NAMES) >= REMEMBERED:
        NAMES.clear()
    NAMES[raw] = name
    return name


def _count(raw: bytes, at: int) -> int | None:
    """The varint from here to the end, of up to three bytes: below two millions. None where it is no such number."""
    size, low = len(raw) - at, raw[at]
    if size == 1:
        return low if low < MORE_BYTES else None
    high = raw[-1]
    if low < MORE_BYTES or high >= MORE_BYTES:
        return None
    if size == 2:
        return low & 0x7F | high << 7
    if size == 3 and raw[at + 1] >= MORE_BYTES:
        return low & 0x7F | (raw[at + 1] & 0x7F) << 7 | high << 14
    return None


def value_of(value: Any, depth: int = 0) -> Any:
    """An AnyValue as JSON has it."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    found = getattr(value, kind)
    if kind == "bytes_value":
        return found.hex()
    if kind in ("array_value", "kvlist_value"):
        if depth >= DEEPEST_VALUE:
            return None
        if kind == "array_value":
            return [value_of(item, depth + 1) for item in found.values]
        return {pair.key: value_of(pair.value, depth + 1) for pair in found.values}
    return found
