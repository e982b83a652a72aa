"""Where a bad message goes: whole to the topic `dead_letters.v1`, as a redacted preview to ClickHouse.

Pure: bytes and rows out, nothing is sent here. The topic keeps the bytes as they came (own access rights, short
retention), so that they can be replayed once the fault is mended; the table says what and why, to everyone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from schemas.codecs.single import encode
from schemas.errors import Rejected
from schemas.topics import INPUTS, OTLP
from sinks.redaction import redact_text

MAX_VALUE_BYTES = 900_000  # with the rest of the record it stays below the broker's limit
PREVIEW_CHARACTERS = 500
KEY_CHARACTERS = 200
REPLAYABLE = frozenset(topic.name for topic in (*INPUTS, *OTLP))


def code_version() -> str:
    """The version that refused the message."""
    try:
        return version("aftermath")
    except PackageNotFoundError:  # run from the source tree
        return "source"


def dead_letter(rejected: Rejected, topic: str, partition: int, stage: str) -> dict[str, Any]:
    """The record for `dead_letters.v1`; its key is the source topic."""
    return {
        "topic": topic,
        "partition": partition,
        "offset": rejected.offset,
        "ingest_time": rejected.ingest_time,
        "stage": stage,
        "reason": rejected.reason.value,
        "detail": rejected.detail,
        "code_version": code_version(),
        "key": None if rejected.key is None else rejected.key[:MAX_VALUE_BYTES],
        "value": rejected.value[:MAX_VALUE_BYTES],
    }


def dead_letter_message(rejected: Rejected, topic: str, partition: int, stage: str) -> bytes:
    """The same, as it is published."""
    return encode("dead_letter", dead_letter(rejected, topic, partition, stage))


def preview_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """The row for the table `dead_letters`, of a record of `dead_letters.v1`: the bytes become a redacted beginning."""
    row = {name: value for name, value in record.items() if name not in ("key", "value")}
    return row | {
        "detail": redact_text(str(record["detail"])),
        "key": _preview(record["key"] or b"", KEY_CHARACTERS),
        "size": len(record["value"]),
        "preview": _preview(record["value"], PREVIEW_CHARACTERS),
    }


Place = tuple[str, int, int]  # topic, partition and offset of the message that was refused


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of `dead_letters.v1`, as `dead_letter` makes it."""

    topic: str
    partition: int
    offset: int
    ingest_time: int
    stage: str
    reason: str
    detail: str
    code_version: str
    key: bytes | None
    value: bytes

    @property
    def place(self) -> Place:
        """Where the message that was refused stands."""
        return self.topic, self.partition, self.offset


def letter_of(record: Mapping[str, Any]) -> Letter:
    """Of a decoded record."""
    return Letter(**record)


def obstacle(letter: Letter) -> str | None:
    """Why it cannot be replayed; None where it can. Only what services publish is: a letter may be forged."""
    if letter.topic not in REPLAYABLE:
        return "is not of an input topic"
    if not letter.value:
        return "has no bytes"
    if len(letter.value) >= MAX_VALUE_BYTES or len(letter.key or b"") >= MAX_VALUE_BYTES:
        return f"was cut at {MAX_VALUE_BYTES:,} bytes"
    return None


def _preview(value: bytes, characters: int) -> str:
    """Redacted before it is cut, with room, so that a secret at the cut is seen whole."""
    text = value[: characters * 8].decode("utf-8", "replace")
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return redact_text(shown)[:characters]
