"""Recordings in files: JSON lines in; events, messages for the player and frames for a backtest out.

One object a line: `"type"`, the fields of the event, and `ingest_time` if it was recorded. A line that is no event is
reported as `file:line: reason: what to do` and loses nothing else. Files of others (OTLP JSON, Langfuse, Claude Code:
`exports.py`) are known by their content. Several files are merged by ingest_time, else event_time, and need not be
sorted. What is merged lies on disk as the messages it will be on Kafka (`recording.py`); so a backtest decodes the same
bytes with the same code, and sees the same times, as a live run.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.exports import exported
from pipeline.ingest.messages import Mapped
from pipeline.lines import LINE_LIMIT, lines
from pipeline.recording import CHUNK_EVENTS, Recording
from schemas.codecs import Decoded, json_events
from schemas.codecs.json_events import AnyEvent
from schemas.codecs.single import UnreadableError, encode_event
from schemas.errors import Reason, UsageError
from schemas.events import EVENTS
from schemas.times import EARLIEST, LATEST, parse_time
from schemas.topics import MAX_MESSAGE_BYTES

LARGEST = MAX_MESSAGE_BYTES - 8_192  # bytes of a value: key and record header count against the broker's limit too
HOPELESS_LINES = 1_000  # so many lines without one JSON object: it is no file of JSON lines


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no event: where, why, and what to do."""

    path: Path
    line: int
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event of a file, its message, and its append time where that was recorded."""

    event: AnyEvent
    value: bytes
    ingest_time: int | None

    @property
    def order(self) -> int:
        """The time that files are merged by."""
        return self.event.event_time if self.ingest_time is None else self.ingest_time


OnBad = Callable[[BadLine], None]


def read_events(paths: Iterable[Path | str], on_bad: OnBad) -> Iterator[Recorded]:
    """The events of the files, as they stand there. Raises UsageError for a file that is none of JSON lines.

    `on_bad` is called for each bad line, in order; it may collect, count, print, or raise to stop.
    """
    for path in map(Path, paths):
        foreign = exported(path)
        if foreign is not None:
            yield from _converted(path, foreign, on_bad)
            continue
        is_json_lines = False
        waiting: list[BadLine] = []  # bad lines before the first object: they may be all there is
        for number, line in lines(path):
            recorded = None
            try:
                found = _load(line)
                is_json_lines = True
                recorded = _recorded(found)
            except UnreadableError as error:
                waiting.append(BadLine(path, number, error.reason, error.detail))
            if is_json_lines:
                for bad in waiting:
                    on_bad(bad)
                waiting.clear()
            elif len(waiting) >= HOPELESS_LINES:
                break
            if recorded is not None:
                yield recorded
        if waiting:
            raise UsageError(
                f"{path}: not one of its first {len(waiting)} lines is a JSON object (line {waiting[0].line}: "
                f'{waiting[0].detail}); write one event a line, {{"type": "agent_span", ...}}'
            )


def _converted(path: Path, found: Iterable[tuple[int, Mapped]], on_bad: OnBad) -> Iterator[Recorded]:
    """Events of somebody else's file; what cannot be read of it is a bad line, and loses nothing else."""
    for number, mapped in found:
        if mapped.reason is not None:
            on_bad(BadLine(path, number, mapped.reason, mapped.detail))
        for record, row in mapped.events:
            try:
                recorded = _recorded({"type": record, **row})
            except UnreadableError as error:
                on_bad(BadLine(path, number, error.reason, error.detail))
            else:
                yield recorded


def merged(paths: Iterable[Path | str], on_bad: OnBad) -> Recording:
    """All events of the files in the order of their stamps. Reads them whole; close what is returned."""
    recording = Recording()
    try:
        for recorded in read_events(paths, on_bad):
            recording.add(recorded.event, recorded.value, recorded.order)
        recording.sort()
    except OSError as error:
        recording.close()
        raise UsageError(
            f"the temporary file of the recording cannot be written ({error.strerror or error}); "
            f"make room in {tempfile.gettempdir()}, or set TMPDIR to where there is"
        ) from error
    except BaseException:
        recording.close()
        raise
    return recording


def batches(paths: Iterable[Path | str], on_bad: OnBad, size: int = CHUNK_EVENTS) -> Iterator[list[Decoded]]:
    """`Recording.chunks` of the files, for who needs nothing else of them."""
    with merged(paths, on_bad) as recording:
        yield from recording.chunks(size)


def _load(line: bytes | None) -> dict[str, Any]:
    if line is None:
        raise UnreadableError(Reason.TOO_LARGE, f"longer than {LINE_LIMIT} bytes; cut its texts")
    if not json_events.is_json(line):
        raise UnreadableError(Reason.MALFORMED, "does not begin with {; write one JSON object a line")
    return json_events.load(line)


def _recorded(found: dict[str, Any]) -> Recorded:
    if "type" not in found:
        raise UnreadableError(Reason.MISSING_FIELD, f"type is missing; it is one of {', '.join(EVENTS)}")
    record = found.pop("type")
    if not isinstance(record, str) or record not in EVENTS:
        raise UnreadableError(Reason.UNKNOWN_VALUE, f"type is {str(record)[:40]!r}; it is one of {', '.join(EVENTS)}")
    ingest_time = _ingest_time(found.pop("ingest_time", None))
    event = json_events.event_of(found, record)
    value = encode_event(event)
    if len(value) > LARGEST:
        detail = f"{len(value)} bytes as a message; at most {LARGEST}, cut its texts"
        raise UnreadableError(Reason.TOO_LARGE, detail)
    return Recorded(event, value, ingest_time)


def _ingest_time(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, str | int):
        detail = f"ingest_time is a {type(value).__name__}; write RFC 3339 or integer microseconds"
        raise UnreadableError(Reason.WRONG_TYPE, detail)
    try:
        micros = parse_time(value)
    except ValueError as error:
        raise UnreadableError(Reason.WRONG_TYPE, f"ingest_time: {error}") from None
    if not EARLIEST <= micros < LATEST:
        detail = f"ingest_time is {value}; it is from the year 2000 on and before 2200"
        raise UnreadableError(Reason.TIME_OUT_OF_RANGE, detail)
    return micros
