"""What a schema cannot say, judged on columns: ranges of times and numbers, closed sets, lengths, depth.

The same limits as the models of `schemas/events.py`, which files pass through: an event is refused for the same
reason whether it came as Avro or as JSON. Each check first asks the whole column (is its greatest value in range?),
and looks at rows only where the answer is no: a good batch costs two numbers a column.
"""

from collections.abc import Callable

import polars as pl

from schemas.codecs.nesting import DEEPEST, too_deep_rows
from schemas.errors import Reason
from schemas.events import (
    CLOSED_SETS,
    COUNT_LIMIT,
    JSON_COLUMNS,
    LEAST,
    LONG_TEXT,
    NAME_LENGTH,
    TEXT_LENGTH,
    TIME_COLUMNS,
)
from schemas.times import EARLIEST, LATEST

Fault = tuple[Reason, str]
SHOWN = 40  # characters of a wrong value that stand in a detail


def faults(frame: pl.DataFrame, record: str) -> dict[int, Fault]:
    """Row -> the first thing wrong with it, in the order of the columns; good rows are not in it.

    The frame has the columns of the record's newest schema; others are ignored.
    """
    found: dict[int, Fault] = {}
    closed, least = CLOSED_SETS[record], LEAST[record]
    times, json_columns = TIME_COLUMNS[record], JSON_COLUMNS[record]
    for column in frame.get_columns():
        name = column.name
        if column.null_count() == len(column):
            continue
        if name in times:
            _time(column, found)
        elif name in least:
            _count(column, least[name], found)
        elif name in closed:
            _closed(column, closed[name], found)
        elif column.dtype == pl.String:
            _text(column, found)
            if name in json_columns:
                _depth(column, found)
        elif column.dtype == pl.Float64 and not column.is_finite().all():
            _note(found, column, ~column.is_finite(), Reason.NOT_FINITE, lambda value: f"is {value}; send a number")
    return found


def _note(
    found: dict[int, Fault], column: pl.Series, bad: pl.Series, reason: Reason, detail: Callable[..., str]
) -> None:
    # per row, but only rows that are refused
    for row in bad.fill_null(False).arg_true().to_list():
        found.setdefault(row, (reason, f"{column.name} {detail(column[row])}"))


def _time(column: pl.Series, found: dict[int, Fault]) -> None:
    if column.min() < EARLIEST or column.max() >= LATEST:  # type: ignore[operator]  # not all null
        _note(
            found,
            column,
            (column < EARLIEST) | (column >= LATEST),
            Reason.TIME_OUT_OF_RANGE,
            lambda value: f"is {value}; it is microseconds since 1970 and from the year 2000 on, before 2200",
        )


def _count(column: pl.Series, least: int, found: dict[int, Fault]) -> None:
    if column.min() < least:  # type: ignore[operator]  # not all null
        _note(
            found,
            column,
            column < least,
            Reason.NEGATIVE_NUMBER,
            lambda value: f"is {value}; it must be at least {least}",
        )
    if column.max() >= COUNT_LIMIT:  # type: ignore[operator]
        _note(
            found,
            column,
            column >= COUNT_LIMIT,
            Reason.WRONG_TYPE,
            lambda value: f"is {value}; a count stays below {COUNT_LIMIT}",
        )


def _closed(column: pl.Series, allowed: tuple[str, ...], found: dict[int, Fault]) -> None:
    if not column.drop_nulls().is_in(allowed).all():
        _note(
            found,
            column,
            ~column.is_in(allowed),
            Reason.UNKNOWN_VALUE,
            lambda value: f"is {value[:SHOWN]!r}; it must be one of {', '.join(allowed)}",
        )


def _text(column: pl.Series, found: dict[int, Fault]) -> None:
    is_long = column.name in LONG_TEXT
    limit = TEXT_LENGTH if is_long else NAME_LENGTH
    sizes = column.str.len_bytes()
    if not is_long and sizes.min() == 0:
        _note(
            found,
            column,
            sizes == 0,
            Reason.MISSING_FIELD,
            lambda value: "is empty; give it a value, or leave it null where it is optional",
        )
    # characters are at most the bytes: counted only where the bytes do not settle it
    if sizes.max() > limit:  # type: ignore[operator]  # not all null
        _note(
            found,
            column,
            column.str.len_chars() > limit,
            Reason.TEXT_TOO_LONG,
            lambda value: f"has {len(value)} characters; at most {limit} are kept, cut it or send its digest",
        )


def _depth(column: pl.Series, found: dict[int, Fault]) -> None:
    for row in too_deep_rows(column):
        found.setdefault(row, (Reason.NESTED_TOO_DEEP, f"{column.name} is nested more than {DEEPEST} deep; flatten it"))
