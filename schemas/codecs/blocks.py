"""A Kafka batch -> one frame: what `decode` in the detect and archive stages does.

Avro messages of one schema are read as one block (`container.py`); no Python runs per message but for grouping and
joining them. A block that cannot be read, or not be proven, is cut into small ones, and what is left is read message
by message (`single.py`): the bad ones are rejected with their reason and their neighbours kept. JSON messages go by
`json_events.py`. All rows then pass the same checks on columns (`ranges.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar, cast

import polars as pl

from schemas import registry
from schemas.codecs import Batch, Decoded, Unread, json_events, ranges, single
from schemas.codecs.container import read_block
from schemas.codecs.single import HEADER_BYTES, UnreadableError
from schemas.errors import Reason, Rejected
from schemas.registry import Schema
from schemas.topics import MAX_MESSAGE_BYTES

ORIGIN = {"partition": pl.Int32, "offset": pl.Int64, "ingest_time": pl.Int64}
SMALL_BLOCK = 256  # messages: where finding one bad among 3,000 is fastest (40 ms; 10 ms where all are good)

T = TypeVar("T")
Bad = tuple[int, Reason, str]  # position in the batch, why, what to do
Part = tuple[list[int], pl.DataFrame]  # positions in the batch, and their rows in the newest schema's columns


def decode_batch(batch: Batch, record: str, folder: Path = registry.FOLDER) -> Decoded:
    """The events of one batch of a topic of this record, and what could not be read. Raises nothing on any bytes."""
    values, newest = batch.values, registry.newest(record, folder)
    stamps = list(accumulate(batch.ingest_times, max))
    parts: list[Part] = []
    bad: list[Bad] = []
    ticks = 0
    others: list[int] = []
    for head, positions in _grouped(values, bad).items():
        schema = registry.by_fingerprint(folder).get(head)
        if schema is None:
            others += positions
        elif schema.name != record:
            detail = f"a {schema.name} on a topic of {record}; send it to its own topic"
            bad += [(position, Reason.WRONG_TYPE, detail) for position in positions]
        else:
            parts += _read(values, positions, schema, newest, bad, folder)
    if others:
        ticks = _read_others(values, sorted(others), record, newest, parts, bad, folder)
    positions, frame = _in_order(parts, newest)
    faults = ranges.faults(frame, record)
    if faults:
        bad += [(positions[row], reason, detail) for row, (reason, detail) in faults.items()]
        good = [row for row in range(len(positions)) if row not in faults]
        frame, positions = frame[good], [positions[row] for row in good]
    return Decoded(
        topic=batch.topic,
        partition=batch.partition,
        frame=_with_origin(
            frame,
            batch.partition,
            _at(batch.offsets, positions),
            _at(stamps, positions),
        ),
        rejected=tuple(
            Rejected(
                offset=batch.offsets[position],
                reason=reason,
                detail=detail,
                value=values[position] or b"",
                key=batch.keys[position],
                ingest_time=stamps[position],
            )
            for position, reason, detail in sorted(bad)
        ),
        ticks=ticks,
        newest_ingest_time=stamps[-1] if stamps else 0,
    )


def frame_of(
    record: str,
    rows: Sequence[Mapping[str, Any]],
    partition: int,
    offsets: Sequence[int],
    ingest_times: Sequence[int],
    folder: Path = registry.FOLDER,
) -> pl.DataFrame:
    """Validated rows in the shape of `Decoded.frame`; absent fields get their defaults."""
    frame = _frame_of_rows(rows, registry.newest(record, folder))
    return _with_origin(frame, partition, offsets, ingest_times)


def empty_frame(record: str, folder: Path = registry.FOLDER) -> pl.DataFrame:
    """No rows, in the shape of `Decoded.frame`."""
    return pl.DataFrame(schema=registry.newest(record, folder).columns | ORIGIN)


def _at(whole: Sequence[T], positions: Sequence[int]) -> Sequence[T]:
    """What stands at these positions, which are in order and different: mostly all of it, and then it is not copied."""
    return whole if len(positions) == len(whole) else [whole[position] for position in positions]


def _grouped(values: Sequence[bytes | None], bad: list[Bad]) -> dict[bytes, list[int]]:
    """Positions of the messages by their first ten bytes. The one loop over all messages; it looks at no more."""
    groups: dict[bytes, list[int]] = {}
    for position, value in enumerate(values):
        if not value:
            bad.append((position, *_why_empty(value)))
        elif len(value) > MAX_MESSAGE_BYTES:
            detail = f"{len(value)} bytes; at most {MAX_MESSAGE_BYTES}, cut texts or send their digests"
            bad.append((position, Reason.TOO_LARGE, detail))
        else:
            head = value[:HEADER_BYTES]
            if head in groups:
                groups[head].append(position)
            else:
                groups[head] = [position]
    return groups


def _why_empty(value: bytes | None) -> tuple[Reason, str]:
    if isinstance(value, Unread):
        return Reason.TOO_LARGE, f"{value.why}; send smaller batches"
    return Reason.EMPTY, "no value; these topics are not compacted, send an event"


def _read(
    values: Sequence[bytes | None],
    positions: list[int],
    schema: Schema,
    newest: Schema,
    bad: list[Bad],
    folder: Path,
) -> list[Part]:
    """Messages of one schema: as one block, else as small blocks, else one by one."""
    # none of these positions holds None: those were rejected as empty
    frame = read_block(cast("Sequence[bytes]", _at(values, positions)), schema)
    if frame is not None:
        return [(positions, _as_newest(frame, schema, newest))]
    if len(positions) > SMALL_BLOCK:
        parts: list[Part] = []
        for start in range(0, len(positions), SMALL_BLOCK):
            parts += _read(values, positions[start : start + SMALL_BLOCK], schema, newest, bad, folder)
        return parts
    kept: list[int] = []
    rows: list[Mapping[str, Any]] = []
    for position in positions:
        try:
            rows.append(single.decode(values[position] or b"", folder)[1])
            kept.append(position)
        except UnreadableError as error:
            bad.append((position, error.reason, error.detail))
    return [(kept, _frame_of_rows(rows, newest))]


def _read_others(
    values: Sequence[bytes | None],
    positions: Iterable[int],
    record: str,
    newest: Schema,
    parts: list[Part],
    bad: list[Bad],
    folder: Path,
) -> int:
    """JSON, and what is no message of ours: one by one, since each may be anything. The number of ticks is returned."""
    kept: list[int] = []
    rows: list[Mapping[str, Any]] = []
    ticks = 0
    for position in positions:
        value = values[position] or b""
        try:
            if not json_events.is_json(value):
                if not value.strip(json_events.WHITE_SPACE):
                    raise UnreadableError(Reason.EMPTY, "only white space; send an event")
                single.writer_of(value, folder)
            event = json_events.decode(value, record)
        except UnreadableError as error:
            bad.append((position, error.reason, error.detail))
            continue
        if event is None:
            ticks += 1
        else:
            rows.append(event.__dict__)
            kept.append(position)
    parts.append((kept, _frame_of_rows(rows, newest)))
    return ticks


def _in_order(parts: list[Part], newest: Schema) -> tuple[list[int], pl.DataFrame]:
    """All rows in the order of the batch."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return [], pl.DataFrame(schema=newest.columns)
    positions = [position for part, _ in parts for position in part]
    frame = pl.concat([frame for _, frame in parts])
    order = sorted(range(len(positions)), key=positions.__getitem__)
    return [positions[row] for row in order], frame[order]


def _with_origin(
    frame: pl.DataFrame, partition: int, offsets: Sequence[int], ingest_times: Sequence[int]
) -> pl.DataFrame:
    return frame.with_columns(
        pl.repeat(partition, frame.height, dtype=pl.Int32, eager=True).alias("partition"),
        pl.Series("offset", offsets, dtype=pl.Int64),
        pl.Series("ingest_time", ingest_times, dtype=pl.Int64),
    )


def _frame_of_rows(rows: Sequence[Mapping[str, Any]], newest: Schema) -> pl.DataFrame:
    return pl.DataFrame(
        {
            field.name: pl.Series(
                [row.get(field.name, field.default) for row in rows], dtype=registry.PLAIN_TYPES[field.type]
            )
            for field in newest.fields
        }
    )


def _as_newest(frame: pl.DataFrame, schema: Schema, newest: Schema) -> pl.DataFrame:
    """Columns that an older version does not have get their defaults."""
    if schema.fingerprint == newest.fingerprint:
        return frame
    known = set(frame.columns)
    return frame.select(
        pl.col(field.name)
        if field.name in known
        else pl.lit(field.default, dtype=registry.PLAIN_TYPES[field.type]).alias(field.name)
        for field in newest.fields
    )
