"""Writes frames until ClickHouse has accepted every row it can accept.

    1. insert: the whole frame, one token
    2. transient error: the same rows and the same token again, with back-off and jitter, and not before `Retry-After`:
       for ever, until told to stop, or up to `attempts` and then raised, where the caller does the waiting (with the
       same frame and token)
    3. a row is to blame: halve, until it is alone; the others are written, that one is returned
    4. we are to blame: raise, so that nothing is acknowledged

A frame that spans many days goes in several inserts: ClickHouse takes at most a hundred partitions in one, and answers
with a number that otherwise means "try again".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from schemas.errors import AftermathError
from sinks.clickhouse.errors import ClickHouseError, Verdict

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 30.0
DAYS_AT_ONCE = 50
PARTITIONED_BY = ("event_time", "pane", "detected_at", "ingest_time", "at")  # the first of them that the frame has


class Inserter(Protocol):
    """What the writer needs of the client. Called from one thread; may block up to the client's time-out."""

    def insert_frame(self, table: str, frame: pl.DataFrame, token: str) -> None:
        """Accept all rows or raise ClickHouseError."""


class Stopped(AftermathError):  # noqa: N818 - not a fault
    """The writer was told to stop before the rows were accepted: they must not be acknowledged."""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that ClickHouse can never take."""

    table: str
    row: dict[str, Any]
    code: int | None
    detail: str


@dataclass(slots=True)
class Writer:
    """One per thread. `sleep` may return early when it is time to stop; `random` gives 0 to 1."""

    client: Inserter
    sleep: Callable[[float], object]
    random: Callable[[], float]
    is_stopping: Callable[[], bool] = lambda: False
    attempts: int | None = None
    on_retry: Callable[[ClickHouseError, float], None] = lambda error, seconds: None

    def write(self, table: str, frame: pl.DataFrame, token: str) -> list[RejectedRow]:
        """Returns the rows that cannot be written; all others are accepted. Raises ClickHouseError and Stopped."""
        rejected: list[RejectedRow] = []
        for part, name in _parts(frame, token):
            rejected += self._write(table, part, name)
        return rejected

    def _write(self, table: str, frame: pl.DataFrame, token: str) -> list[RejectedRow]:
        try:
            self._insert(table, frame, token)
        except ClickHouseError as error:
            if error.verdict is not Verdict.BAD_ROW:
                raise
            if frame.height == 1:
                return [RejectedRow(table, frame.row(0, named=True), error.code, error.detail)]
            half = frame.height // 2
            left = self._write(table, frame[:half], f"{token}/a")
            return left + self._write(table, frame[half:], f"{token}/b")
        return []

    def _insert(self, table: str, frame: pl.DataFrame, token: str) -> None:
        wait, attempt = FIRST_WAIT_SECONDS, 0
        while True:
            attempt += 1
            if self.is_stopping():
                raise Stopped(f"Stopped before {frame.height} rows for {table} were accepted; they will be read again.")
            try:
                self.client.insert_frame(table, frame, token)
                return
            except ClickHouseError as error:
                if error.verdict is not Verdict.TRANSIENT or attempt == self.attempts:
                    raise
                seconds = max(wait * (0.5 + self.random() / 2), error.retry_after or 0.0)
                self.on_retry(error, seconds)
            self.sleep(seconds)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)


def _parts(frame: pl.DataFrame, token: str) -> Iterator[tuple[pl.DataFrame, str]]:
    """The frame in one piece, or by groups of days; the same rows give the same pieces and tokens."""
    if frame.is_empty():
        return
    column = next((name for name in PARTITIONED_BY if name in frame.columns), None)
    if column is None or not isinstance(frame.schema[column], pl.Datetime):
        yield frame, token
        return
    days = frame[column].dt.date()
    distinct = days.unique().sort()
    for start in range(0, len(distinct), DAYS_AT_ONCE):
        if len(distinct) <= DAYS_AT_ONCE:
            yield frame, token
        else:
            group = distinct[start : start + DAYS_AT_ONCE]
            yield frame.filter(days.is_in(group.implode())), f"{token}/{group[0]}"
