"""What a schema cannot say, judged on columns: ranges of times and numbers, closed sets, lengths, depth.

The same limits as the models of `schemas/events.py`, which files pass through: an event is refused for the same
reason whether it came as Avro or as JSON. First each column as a whole is asked whether all is well (its greatest
value in range, its bytes no more than the characters it may have), all of them in one call; rows are looked at only
in a column that said no.
"""

from collections.abc import Callable

import polars as pl

from schemas.codecs.nesting import DEEPEST, bracket_count, too_deep_rows
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
    for name in _suspects(frame, record):
        column = frame[name]
        if name in times:
            _time(column, found)
        elif name in least:
            _count(column, least[name], found)
        elif name in closed:
            _closed(column, closed[name], found)
        elif column.dtype == pl.Float64:
            _note(found, column, ~column.is_finite(), Reason.NOT_FINITE, lambda value: f"is {value}; send a number")
        else:
            _text(column, found)
            if name in json_columns:
                _depth(column, found)
    return found


def _suspects(frame: pl.DataFrame, record: str) -> list[str]:
    """The columns that may hold a wrong value: one call for all of them, and mostly none."""
    closed, least = CLOSED_SETS[record], LEAST[record]
    times, json_columns = TIME_COLUMNS[record], JSON_COLUMNS[record]
    good: list[pl.Expr] = []
    for column in frame.get_columns():
        name, kind = column.name, column.dtype
        if column.null_count() == len(column):
            continue
        one = pl.col(name)
        if name in times:
            good.append((one.min() >= EARLIEST) & (one.max() < LATEST))
        elif name in least:
            good.append((one.min() >= least[name]) & (one.max() < COUNT_LIMIT))
        elif name in closed:
            good.append(one.is_in(closed[name]).all())
        elif kind == pl.Float64:
            good.append(one.is_finite().all())
        elif kind == pl.String:
            size = one.str.len_bytes()
            is_good = size.max() <= (TEXT_LENGTH if name in LONG_TEXT else NAME_LENGTH)
            if name not in LONG_TEXT:
                is_good &= size.min() > 0
            if name in json_columns:
                is_good &= bracket_count(one).max() <= DEEPEST
            good.append(is_good)
    return [name for name, is_good in frame.select(good).row(0, named=True).items() if not is_good] if good else []


def _note(
    found: dict[int, Fault], column: pl.Series, bad: pl.Series, reason: Reason, detail: Callable[..., str]
) -> None:
    # per row, but only rows that are refused
    for row in bad.fill_null(False).arg_true().to_list():
        found.setdefault(row, (reason, f"{column.name} {detail(column[row])}"))


def _time(column: pl.Series, found: dict[int, Fault]) -> None:
    _note(
        found,
        column,
        (column < EARLIEST) | (column >= LATEST),
        Reason.TIME_OUT_OF_RANGE,
        lambda value: f"is {value}; it is microseconds since 1970, from the year 2000 on and before 2200",
    )


def _count(column: pl.Series, least: int, found: dict[int, Fault]) -> None:
    _note(
        found,
        column,
        column < least,
        Reason.NEGATIVE_NUMBER,
        lambda value: f"is {value}; it must be at least {least}",
    )
    _note(
        found,
        column,
        column >= COUNT_LIMIT,
        Reason.WRONG_TYPE,
        lambda value: f"is {value}; a count stays below {COUNT_LIMIT}",
    )


def _closed(column: pl.Series, allowed: tuple[str, ...], found: dict[int, Fault]) -> None:
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
    if not is_long:
        _note(
            found,
            column,
            column == "",
            Reason.MISSING_FIELD,
            lambda value: "is empty; give it a value, or leave it null where it is optional",
        )
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
