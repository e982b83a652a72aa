"""Bytes to columns and back. What a Kafka batch is, and what came of decoding it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from schemas.errors import Reason, Rejected

Integers = Sequence[int] | np.ndarray[Any, np.dtype[np.int64]]

TICK = b'{"type": "tick"}'  # appended to an idle partition so that its watermark moves


class Unread(bytes):
    """Stands for a value that nobody reads: empty, and why."""

    def __new__(cls, why: str, reason: Reason) -> "Unread":
        self = super().__new__(cls)
        self.why, self.reason = why, reason
        return self

    why: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of one fetch of one partition, in offset order; the four have equal length."""

    topic: str
    partition: int
    offsets: Integers
    ingest_times: Integers  # append time of each record, microseconds UTC
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch as one frame, and what could not be read.

    frame: one row an event, in offset order; the columns of the record's newest schema, then
    `partition` Int32, `offset` Int64, `ingest_time` Int64: the append time as a running maximum over *all*
    records of the batch up to this one, ticks and rejected ones included.
    `newest_ingest_time` is that maximum at the end of the batch (0 of an empty one).
    """

    topic: str
    partition: int
    frame: pl.DataFrame
    rejected: tuple[Rejected, ...]
    ticks: int
    newest_ingest_time: int
