"""Reads the raw tables back as the frames that detection works on, in the order the log had: append time, then place.

What was redacted stays so, and what came more than a day late, or a minute early, is not read: it was never judged.
Optional names that are empty become null again. One stretch of append time at a time, so that memory is bounded by it.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from schemas.codecs import Decoded
from schemas.events import TOPIC_RECORDS
from schemas.registry import Schema, newest
from schemas.times import parse_time, to_datetime
from sinks.clickhouse.client import Client
from sinks.clickhouse.rows import TABLES

STRETCH = timedelta(minutes=10)
LATEST, EARLIEST = timedelta(days=1), timedelta(minutes=1)
PLACE = {"partition": pl.Int32, "offset": pl.Int64, "ingest_time": pl.Int64}
ROWS = """
SELECT {columns}, partition, offset, ingest_time
FROM {table} FINAL
WHERE topic = {{topic:String}}
    AND ingest_time >= {{since:DateTime64(6, 'UTC')}} AND ingest_time < {{until:DateTime64(6, 'UTC')}}
    AND event_time >= {{earliest:DateTime64(6, 'UTC')}} AND event_time < {{latest:DateTime64(6, 'UTC')}}
ORDER BY ingest_time, partition, offset"""


def stretches(client: Client, since: int, until: int) -> Iterator[list[Decoded]]:
    """The frames of each stretch from `since` on, before `until` (microseconds); those with rows, one a topic."""
    start, end = to_datetime(since), to_datetime(until)
    while start < end:
        stop = min(start + STRETCH, end)
        found = [_read(client, topic, record, start, stop) for topic, record in TOPIC_RECORDS.items()]
        if parts := [part for part in found if part.frame.height]:
            yield parts
        start = stop


def _read(client: Client, topic: str, record: str, start: datetime, stop: datetime) -> Decoded:
    schema = newest(record)
    sql = ROWS.format(columns=", ".join(schema.columns), table=TABLES[record])
    times = {"since": start, "until": stop, "earliest": start - LATEST, "latest": stop + EARLIEST}
    given = {name: f"{at:%Y-%m-%d %H:%M:%S.%f}" for name, at in times.items()}
    frame = _as_decoded(client.frame(sql, {"topic": topic, **given}), schema)
    last = frame["ingest_time"].max() if frame.height else 0
    return Decoded(topic, 0, frame, (), 0, parse_time(last) if isinstance(last, int) else 0)


def _as_decoded(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The types of `schemas.codecs`: times as microseconds, null for what was not given."""
    optional = [field.name for field in schema.fields if field.is_nullable and field.type == "string"]
    types = schema.columns | PLACE
    found = frame.select(pl.col(name).cast(kind) for name, kind in types.items())
    return found.with_columns(pl.col(name).replace("", None) for name in optional)
