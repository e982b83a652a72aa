"""Files that others write, told apart by content: OTLP JSON, Langfuse exports, transcripts of Claude Code.

One JSON object a line, as the Collector's file exporter writes them, or the whole file one document. None of them is
ours: those have a `type` that is a name of our events.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from pipeline.ingest import claude_code, langfuse, otlp_json
from pipeline.ingest.messages import Mapped, Reader
from pipeline.lines import lines
from schemas.codecs import json_events
from schemas.codecs.single import UnreadableError
from schemas.errors import Reason
from schemas.events import EVENTS
from schemas.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS

Found = Mapping[str, Any]
Read = tuple[int, Mapped]  # line, what it holds

OTLP_KEYS: Final = {
    "resourceSpans": (OTLP_SPANS.name, otlp_json.spans),
    "resourceMetrics": (OTLP_METRICS.name, otlp_json.metrics),
    "resourceLogs": (OTLP_LOGS.name, otlp_json.logs),
}
LARGEST_DOCUMENT: Final = 64_000_000  # bytes of a file that is one document
PEEKED: Final = 20  # lines in which a transcript has a message


def exported(path: Path) -> Iterator[Read] | None:
    """The events of a file of somebody else's, by line; None where it is none that we know. Raises UsageError."""
    documents = list(_first(path))
    if not documents or documents[0].get("type") in tuple(EVENTS):  # which may be anything, a list say
        return None
    if any(claude_code.is_transcript(found) for found in documents):
        return _transcript(path)
    if _is_known(documents[0]):
        return _documents(path)
    return None


def _is_known(found: Found) -> bool:
    return any(name in found for name in OTLP_KEYS) or langfuse.is_export(found)


def _first(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in the first lines of a file; some may be no JSON."""
    for number, found in _objects(path):
        if number > PEEKED:
            return
        if found is not None:
            yield found


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Each object with its line, None for a line that is none; of a file that is one document, the objects in it."""
    whole = _whole(path)
    if whole is not None:
        yield from ((1, item) for item in (whole if isinstance(whole, list) else [whole]) if isinstance(item, dict))
        return
    for number, line in lines(path):
        try:
            yield number, None if line is None else json_events.load(line)
        except UnreadableError:
            yield number, None


def _whole(path: Path) -> Any:
    """The document that the file is, where its first line alone is none; else None."""
    parts: list[bytes] = []
    size = 0
    for number, line in lines(path):
        if line is None:
            return None
        if number == 1 or not parts:
            start = line.lstrip()[:1]
            if start not in (b"{", b"[") or _is_json(line) is dict:
                return None
        size += len(line)
        if size > LARGEST_DOCUMENT:
            return None
        parts.append(line)
    try:
        return orjson.loads(b"".join(parts))
    except ValueError:
        return None


def _is_json(line: bytes) -> type | None:
    try:
        return type(orjson.loads(line))
    except ValueError:
        return None


def _documents(path: Path) -> Iterator[Read]:
    reader = Reader()
    for number, found in _objects(path):
        if found is None or not _is_known(found):
            detail = "no document like the first of this file; put others into a file of their own"
            yield number, Mapped(reason=Reason.MALFORMED, detail=detail, is_rejected=True)
            continue
        if langfuse.is_export(found):
            yield number, reader.events(OTLP_SPANS.name, langfuse.spans(found))
        for name, (topic, decode) in OTLP_KEYS.items():
            if name in found:
                yield number, reader.events(topic, decode(found))


def _transcript(path: Path) -> Iterator[Read]:
    """The calls of a whole transcript: they begin and end in different lines."""
    kept = []
    for number, found in _objects(path):
        try:
            if found is None:
                raise ValueError("no JSON object")
            line = claude_code.reduced(found) if claude_code.is_transcript(found) else None
        except ValueError as error:
            yield number, Mapped(reason=Reason.MALFORMED, detail=str(error)[:200], is_rejected=True)
        else:
            if line is not None:
                kept.append(line)
    events = [("agent_span", {k: v for k, v in row.items() if k != "type"}) for row in claude_code.spans(kept)]
    yield 1, Mapped(events)
