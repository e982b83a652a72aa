"""The audit of replayed dead letters: who sent which message once more, when, and why."""

import hashlib
from collections.abc import Sequence

import polars as pl

from sinks.clickhouse.client import Client
from sinks.clickhouse.rows import TIME
from sinks.dead_letters import Letter, Place

KNOWN = """
SELECT DISTINCT topic, partition, offset FROM dead_letter_replays FINAL
WHERE topic IN {topics:Array(String)} AND offset BETWEEN {least:Int64} AND {most:Int64}
"""


def replayed(client: Client, places: Sequence[Place]) -> set[Place]:
    """Which of these were replayed before."""
    if not places:
        return set()
    offsets = [offset for _, _, offset in places]
    asked = {"topics": sorted({topic for topic, _, _ in places}), "least": min(offsets), "most": max(offsets)}
    rows = client.query(KNOWN, asked)
    return {(row["topic"], row["partition"], row["offset"]) for row in rows} & set(places)


def write_replays(client: Client, letters: Sequence[Letter], *, by: str, why: str, at: int) -> None:
    """at: microseconds. One row a message, before it is sent."""
    if not letters:
        return
    rows = [
        {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "reason": letter.reason,
            "replayed_by": by,
            "why": why,
            "replayed_at": at,
        }
        for letter in letters
    ]
    frame = pl.DataFrame(rows).with_columns(pl.col("replayed_at").cast(TIME), pl.col("partition").cast(pl.Int32))
    digest = hashlib.sha256(repr([letter.place for letter in letters]).encode()).hexdigest()[:16]
    client.insert_frame("dead_letter_replays", frame, f"replay:{digest}:{at}")
