"""Confluent's wire format: a zero byte, the number of a schema in a registry, the fields.

Where a registry is configured (AFTERMATH_SCHEMA_REGISTRY_URL) messages of this form on our three topics are read as
ours are: the registry says which schema the number stands for, and where that is one of `schemas/avro` (the same
parsing canonical form: documentation and order of attributes do not count) the five bytes become the ten of our header.
Another schema is left as it is, and becomes a dead letter. A number means the same for ever: each is asked for once.
"""

import base64
import json
import logging
import struct
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from typing import Final

from fastavro.schema import SchemaParseException, UnknownType, fingerprint, to_parsing_canonical_form

from pipeline.frontier import Element
from pipeline.record_batches import Record
from schemas.errors import ConfigurationError, DependencyError
from schemas.registry import MAGIC, by_fingerprint

log = logging.getLogger(__name__)

MAGIC_BYTE: Final = b"\x00"
PREFIX: Final = 5  # bytes: zero, and a number of four
TIMEOUT_SECONDS: Final = 5.0
MOST_BYTES: Final = 1_000_000  # of a schema


class SchemaRegistry:
    """Not for two threads at once. `user` and `password` are sent as HTTP's basic authentication."""

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError("AFTERMATH_SCHEMA_REGISTRY_URL must begin with http:// or https://.")
        self._url = url.rstrip("/")
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._headers: dict[int, bytes | None] = {}  # number -> header of our schema; None: none of ours

    def read(self, element: Element) -> Element:
        """The element with what is in this form as we write it. Blocks. Raises DependencyError."""
        numbers = {_number(record.value) for record in element.records if _is_framed(record.value)}
        if not numbers:
            return element
        for number in sorted(numbers - self._headers.keys()):
            self._headers[number] = self._ask(number)
        return replace(element, records=[self._as_ours(record) for record in element.records])

    def _as_ours(self, record: Record) -> Record:
        value = record.value
        if value is None or not _is_framed(value) or (header := self._headers[_number(value)]) is None:
            return record
        return Unframed(record.offset, record.timestamp, record.timestamp_type, record.key, header + value[PREFIX:])

    def _ask(self, number: int) -> bytes | None:
        request = urllib.request.Request(f"{self._url}/schemas/ids/{number}")  # noqa: S310 - http or https, checked
        if self._login:
            request.add_header("Authorization", f"Basic {self._login}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                text = json.loads(answer.read(MOST_BYTES))["schema"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                log.error("the schema registry has no schema %s: its messages are dead letters", number)
                return None
            raise DependencyError(
                f"The schema registry answers {error.code} for schema {number}; see its log."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DependencyError(
                f"The schema registry does not say what schema {number} is ({type(error).__name__}: {error});"
                " check AFTERMATH_SCHEMA_REGISTRY_URL and that it is up."
            ) from None
        header = header_of(text)
        if header is None:
            log.error("schema %s of the registry is none of schemas/avro: its messages are dead letters", number)
        return header


@dataclass(frozen=True, slots=True)
class Unframed:
    """A record whose value has our header."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None


def header_of(text: object) -> bytes | None:
    """The header of the schema of ours that is the same to a reader; None where there is none."""
    try:
        crc = fingerprint(to_parsing_canonical_form(json.loads(str(text))), "CRC-64-AVRO")
    except (ValueError, KeyError, TypeError, SchemaParseException, UnknownType):
        return None
    header = MAGIC + bytes.fromhex(crc)
    return header if header in by_fingerprint() else None


def _is_framed(value: bytes | None) -> bool:
    return value is not None and len(value) > PREFIX and value[:1] == MAGIC_BYTE


def _number(value: bytes | None) -> int:
    return int(struct.unpack(">I", (value or b"")[1:PREFIX])[0])
