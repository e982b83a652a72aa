"""Nothing is lost, nobody is blamed wrongly: the writer against a ClickHouse that fails by plan."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from sinks.clickhouse.errors import VERDICTS, ClickHouseError, Verdict, verdict_of
from sinks.clickhouse.writer import Stopped, Writer


@dataclass
class Table:
    """Records what it accepted; `refuse` may raise."""

    refuse: Callable[[pl.DataFrame, int], int | None] = lambda frame, call: None
    rows: list[int] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def insert_frame(self, table: str, frame: pl.DataFrame, token: str) -> None:
        self.calls.append(token)
        code = self.refuse(frame, len(self.calls))
        if code is not None:
            raise ClickHouseError("an INSERT failed", "because", code if code >= 0 else None)
        self.rows += frame["x"].to_list()


def writer(table: Table, waits: list[float] | None = None) -> Writer:
    return Writer(table, (waits if waits is not None else []).append, lambda: 1.0)


def numbers(count: int) -> pl.DataFrame:
    return pl.DataFrame({"x": list(range(count))})


def test_accepted_rows_need_one_insert() -> None:
    table = Table()
    assert writer(table).write("t", numbers(10), "topic:0:0-9") == []
    assert table.calls == ["topic:0:0-9"]


def test_an_empty_frame_is_not_sent() -> None:
    table = Table()
    assert writer(table).write("t", numbers(0), "k") == []
    assert table.calls == []


@pytest.mark.parametrize("code", [-1, 159, 252, 319, 987654])
def test_a_transient_error_is_retried_with_the_same_token_until_it_is_accepted(code: int) -> None:
    table, waits = Table(lambda frame, call: code if call < 9 else None), list[float]()
    assert writer(table, waits).write("t", numbers(3), "k") == []
    assert table.calls == ["k"] * 9
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert table.rows == [0, 1, 2]


def test_who_asks_to_be_left_alone_for_a_while_is() -> None:
    waits = list[float]()

    class Busy(Table):
        def insert_frame(self, table: str, frame: pl.DataFrame, token: str) -> None:
            self.calls.append(token)
            if len(self.calls) < 4:
                error = ClickHouseError("an INSERT failed", "too many requests", None)
                error.retry_after = [None, 17.0, 0.0][len(self.calls) - 1]
                raise error

    assert writer(Busy(), waits).write("t", numbers(1), "k") == []
    assert waits == [1.0, 17.0, 4.0]


def test_with_one_attempt_a_transient_error_is_the_callers() -> None:
    table = Table(lambda frame, call: 999 if call == 1 else None)
    once = Writer(table, lambda seconds: None, lambda: 1.0, attempts=1)
    with pytest.raises(ClickHouseError):
        once.write("t", numbers(3), "k")
    assert once.write("t", numbers(3), "k") == []
    assert table.calls == ["k", "k"]


def test_jitter_halves_the_wait_at_most() -> None:
    waits: list[float] = []
    Writer(Table(lambda frame, call: 999 if call < 2 else None), waits.append, lambda: 0.0).write("t", numbers(1), "k")
    assert waits == [0.5]


def test_a_stop_ends_the_retries_and_says_that_nothing_was_accepted() -> None:
    table = Table(lambda frame, call: 999)
    stopping = Writer(table, lambda seconds: None, lambda: 1.0, lambda: len(table.calls) >= 3)
    with pytest.raises(Stopped, match="3 rows for t"):
        stopping.write("t", numbers(3), "k")


@pytest.mark.fault("F22")
def test_halving_leaves_the_bad_row_alone_and_writes_all_others() -> None:
    table = Table(lambda frame, call: 53 if 77 in frame["x"] else None)
    found = writer(table).write("t", numbers(100), "k")
    assert [(item.row, item.code, item.detail) for item in found] == [({"x": 77}, 53, "because")]
    assert sorted(table.rows) == [n for n in range(100) if n != 77]
    assert len(set(table.calls)) == len(table.calls)  # a token of its own for each piece


def test_all_rows_bad_are_all_returned_in_order() -> None:
    found = writer(Table(lambda frame, call: 6)).write("t", numbers(5), "k")
    assert [item.row["x"] for item in found] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("code", [60, 81, 164, 497, 516])
def test_a_bad_setup_raises_at_once_and_blames_no_row(code: int) -> None:
    table = Table(lambda frame, call: code)
    with pytest.raises(ClickHouseError) as caught:
        writer(table).write("t", numbers(5), "k")
    assert caught.value.verdict is Verdict.BAD_SETUP
    assert len(table.calls) == 1


@pytest.mark.parametrize(("days", "inserts"), [(50, 1), (51, 2), (120, 3)])
def test_a_frame_over_many_days_goes_in_several_inserts(days: int, inserts: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    frame = numbers(days).with_columns(
        pl.Series("event_time", [start + timedelta(days=n) for n in range(days)], dtype=pl.Datetime("us", "UTC"))
    )
    table, again = Table(), Table()
    assert writer(table).write("t", frame, "k") == []
    writer(again).write("t", frame, "k")
    assert len(set(table.calls)) == inserts
    assert sorted(table.rows) == list(range(days))
    assert again.calls == table.calls


def test_every_number_has_one_verdict_and_an_unknown_one_is_retried() -> None:
    assert {verdict_of(code) for code in VERDICTS} == set(Verdict)
    assert verdict_of(None) is Verdict.TRANSIENT
    assert verdict_of(123456) is Verdict.TRANSIENT
