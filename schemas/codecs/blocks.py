"""A Kafka batch -> one frame: what `decode` in the detect and archive stages does.

Avro messages of one schema are read together (`walk.py`); no Python runs per message. What is left out there is read
message by message: Avro by `single.py`, JSON by `json_events.py`. The bad ones are rejected with their reason and their
neighbours kept. All rows then pass the same checks on columns (`ranges.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from schemas import registry
from schemas.codecs import Batch, Decoded, Integers, Unread, json_events, ranges, single
from schemas.codecs.packed import Numbers
from schemas.codecs.single import UnreadableError
from schemas.codecs.walk import walk
from schemas.errors import Reason, Rejected
from schemas.registry import HEADER_BYTES, Schema
from schemas.topics import MAX_MESSAGE_BYTES

ORIGIN = {"partition": pl.Int32, "offset": pl.Int64, "ingest_time": pl.Int64}

Values = Sequence[bytes | None]
Bad = tuple[int, Reason, str]  # position in the batch, why, what to do
Part = tuple[Sequence[int], pl.DataFrame]  # positions in the batch, and their rows in the newest schema's columns


def decode_batch(batch: Batch, record: str, folder: Path = registry.FOLDER) -> Decoded:
    """The events of one batch of a topic of this record, and what could not be read. Raises nothing on any bytes."""
    values, newest = batch.values, registry.newest(record, folder)
    offsets = np.asarray(batch.offsets, dtype=np.int64)
    stamps = np.maximum.accumulate(np.asarray(batch.ingest_times, dtype=np.int64))
    bad: list[Bad] = []
    walked = walk(values, newest)
    parts: list[Part] = [(_others(len(values), walked.left_out), walked.frame)]
    ticks = _read_rest(values, walked.left_out, newest, parts, bad, folder) if walked.left_out else 0
    positions, frame = _in_order(parts)
    faults = ranges.faults(frame, record, walked.text_views if frame is walked.frame else None)
    if faults:
        bad += [(positions[row], reason, detail) for row, (reason, detail) in faults.items()]
        good = _others(len(positions), sorted(faults))
        frame, positions = frame[good], [positions[row] for row in good]
    return Decoded(
        topic=batch.topic,
        partition=batch.partition,
        frame=_with_origin(frame, batch.partition, _at(offsets, positions), _at(stamps, positions)),
        rejected=tuple(
            Rejected(
                offset=int(offsets[position]),
                reason=reason,
                detail=detail,
                value=values[position] or b"",
                key=batch.keys[position],
                ingest_time=int(stamps[position]),
            )
            for position, reason, detail in sorted(bad)
        ),
        ticks=ticks,
        newest_ingest_time=int(stamps[-1]) if stamps.size else 0,
    )


def frame_of(
    record: str,
    rows: Sequence[Mapping[str, Any]],
    partition: int,
    offsets: Integers,
    ingest_times: Integers,
    folder: Path = registry.FOLDER,
) -> pl.DataFrame:
    """Validated rows in the shape of `Decoded.frame`; absent fields get their defaults."""
    frame = _frame_of_rows(rows, registry.newest(record, folder))
    return _with_origin(frame, partition, offsets, ingest_times)


def frame_of_columns(
    record: str,
    columns: Mapping[str, Sequence[Any]],
    partition: int,
    offsets: Integers,
    ingest_times: Integers,
    folder: Path = registry.FOLDER,
) -> pl.DataFrame:
    """The same of rows that are columns already: all fields."""
    types = registry.newest(record, folder).columns
    frame = pl.DataFrame([pl.Series(name, columns[name], dtype=dtype) for name, dtype in types.items()])
    return _with_origin(frame, partition, offsets, ingest_times)


def empty_frame(record: str, folder: Path = registry.FOLDER) -> pl.DataFrame:
    """No rows, in the shape of `Decoded.frame`."""
    return pl.DataFrame(schema=registry.newest(record, folder).columns | ORIGIN)


def _at(whole: Numbers, positions: Sequence[int]) -> Numbers:
    """What stands at these positions, which are in order and different: mostly all of it, and then it is not copied."""
    return whole if len(positions) == len(whole) else whole[np.asarray(positions, dtype=np.int64)]


def _others(number: int, without: Sequence[int]) -> Sequence[int]:
    """All positions below a number but these, which are in order."""
    return np.delete(np.arange(number), without).tolist() if without else range(number)


def _read_rest(
    values: Values, left_out: Sequence[int], newest: Schema, parts: list[Part], bad: list[Bad], folder: Path
) -> int:
    """What is no plain message of the newest schema: older ones, JSON, bad ones. The number of ticks is returned."""
    alone: list[int] = []
    for head, positions in _grouped(values, left_out, bad).items():
        schema = registry.by_fingerprint(folder).get(head)
        if schema is None or schema is newest:
            alone += positions
        elif schema.name != newest.name:
            detail = f"a {schema.name} on a topic of {newest.name}; send it to its own topic"
            bad += [(position, Reason.WRONG_TYPE, detail) for position in positions]
        else:
            older = walk([values[position] for position in positions], schema)
            kept = _others(len(positions), older.left_out)
            parts.append(([positions[place] for place in kept], _as_newest(older.frame, schema, newest)))
            alone += [positions[place] for place in older.left_out]
    return _read_alone(values, sorted(alone), newest, parts, bad, folder)


def _grouped(values: Values, left_out: Sequence[int], bad: list[Bad]) -> dict[bytes, list[int]]:
    """Positions of these messages by their first ten bytes."""
    groups: dict[bytes, list[int]] = {}
    for position in left_out:
        value = values[position]
        if not value:
            bad.append((position, *_why_empty(value)))
        elif len(value) > MAX_MESSAGE_BYTES:
            detail = f"{len(value)} bytes; at most {MAX_MESSAGE_BYTES}, cut texts or send their digests"
            bad.append((position, Reason.TOO_LARGE, detail))
        else:
            groups.setdefault(value[:HEADER_BYTES], []).append(position)
    return groups


def _why_empty(value: bytes | None) -> tuple[Reason, str]:
    if isinstance(value, Unread):
        return value.reason, value.why
    return Reason.EMPTY, "no value; these topics are not compacted, send an event"


def _read_alone(
    values: Values, positions: Iterable[int], newest: Schema, parts: list[Part], bad: list[Bad], folder: Path
) -> int:
    """One by one, since each may be anything. The number of ticks is returned."""
    kept: list[int] = []
    rows: list[Mapping[str, Any]] = []
    ticks = 0
    for position in positions:
        try:
            row = _row(values[position] or b"", newest.name, folder)
        except UnreadableError as error:
            bad.append((position, error.reason, error.detail))
            continue
        if row is None:
            ticks += 1
        else:
            rows.append(row)
            kept.append(position)
    if rows:
        parts.append((kept, _frame_of_rows(rows, newest)))
    return ticks


def _row(value: bytes, record: str, folder: Path) -> Mapping[str, Any] | None:
    """One message; None where it is a tick. Raises UnreadableError."""
    if json_events.is_json(value):
        event = json_events.decode(value, record)
        return None if event is None else event.__dict__
    if not value.strip(json_events.WHITE_SPACE):
        raise UnreadableError(Reason.EMPTY, "only white space; send an event")
    return single.decode(value, folder)[1]


def _in_order(parts: list[Part]) -> tuple[Sequence[int], pl.DataFrame]:
    """All rows in the order of the batch."""
    if len(parts) == 1:
        return parts[0]
    positions = np.concatenate([np.asarray(part, dtype=np.int64) for part, _ in parts])
    order = np.argsort(positions)
    return positions[order].tolist(), pl.concat([frame for _, frame in parts])[order]


def _with_origin(frame: pl.DataFrame, partition: int, offsets: Integers, ingest_times: Integers) -> pl.DataFrame:
    return frame.hstack(
        [
            pl.Series("partition", np.full(frame.height, partition, dtype=np.int32)),
            pl.Series("offset", np.asarray(offsets, dtype=np.int64)),
            pl.Series("ingest_time", np.asarray(ingest_times, dtype=np.int64)),
        ]
    )


def _frame_of_rows(rows: Sequence[Mapping[str, Any]], newest: Schema) -> pl.DataFrame:
    if not rows:
        return pl.DataFrame(schema=newest.columns)
    take = itemgetter(*newest.columns)
    try:
        columns = zip(*map(take, rows), strict=True)
    except KeyError:  # rows without some fields
        defaults = {field.name: field.default for field in newest.fields}
        columns = zip(*[take({**defaults, **row}) for row in rows], strict=True)
    return pl.DataFrame(
        [
            pl.Series(name, values, dtype=dtype)
            for (name, dtype), values in zip(newest.columns.items(), columns, strict=True)
        ]
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
