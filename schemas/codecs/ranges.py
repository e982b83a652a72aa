"""What a schema cannot say, judged on columns: ranges of times and numbers, closed sets, lengths, depth.

The same limits as the models of `schemas/events.py`, which files pass through: an event is refused for the same
reason whether it came as Avro or as JSON. First each column as a whole is asked whether all is well (its greatest
value in range, its bytes no more than the characters it may have); rows are looked at only in a column that said no.
"""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import polars as pl

from schemas.codecs.nesting import DEEPEST, bracket_count, too_deep_rows
from schemas.codecs.walk import INLINE, Views
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


def faults(frame: pl.DataFrame, record: str, text_views: Mapping[str, Views] | None = None) -> dict[int, Fault]:
    """Row -> the first thing wrong with it, in the order of the columns; good rows are not in it.

    The frame has the columns of the record's newest schema; others are ignored. text_views: the views of every text
    column that has any value, where whoever made the frame knows them.
    """
    found: dict[int, Fault] = {}
    closed, least = CLOSED_SETS[record], LEAST[record]
    times, json_columns = TIME_COLUMNS[record], JSON_COLUMNS[record]
    for name in _suspects(frame, record, text_views):
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


def _suspects(frame: pl.DataFrame, record: str, text_views: Mapping[str, Views] | None) -> list[str]:
    """The columns that may hold a wrong value, mostly none. Asked of each column as a whole."""
    closed, least = CLOSED_SETS[record], LEAST[record]
    times, json_columns = TIME_COLUMNS[record], JSON_COLUMNS[record]
    if not frame.height:
        return []
    texts = _text_views(frame) if text_views is None else text_views
    found = []
    for column in frame.get_columns():
        name, kind = column.name, column.dtype
        nulls = column.null_count()
        if nulls == len(column):
            continue
        if name in times:
            is_good = _lies_between(column, EARLIEST, LATEST)
        elif name in least:
            is_good = _lies_between(column, least[name], COUNT_LIMIT)
        elif name in closed:
            is_good = _is_among(texts[name], closed[name], nulls)
        elif kind == pl.Float64:
            is_good = bool(column.is_finite().all())
        elif kind == pl.String:
            limit, size = (TEXT_LENGTH if name in LONG_TEXT else NAME_LENGTH), texts[name][:, 0]
            is_good = bool(size.max() <= limit)
            if name not in LONG_TEXT:
                is_good = is_good and int(np.count_nonzero(size == 0)) == nulls
            if name in json_columns and is_good and size.max() > DEEPEST:
                most: int = frame.select(bracket_count(pl.col(name)).max()).item()
                is_good = most <= DEEPEST
        else:
            continue
        if not is_good:
            found.append(name)
    return found


def _text_views(frame: pl.DataFrame) -> dict[str, Views]:
    """The Arrow views of every text column that has any value; all zero where it is null."""
    texts = frame.select(pl.col(pl.String).fill_null("")).rechunk()
    found = {}
    for name, column in zip(texts.columns, texts.to_arrow(compat_level=pl.CompatLevel.newest()).columns, strict=True):
        if frame[name].null_count() < frame.height:
            array = column.chunk(0)
            views = np.frombuffer(array.buffers()[1], dtype="<u4").reshape(-1, 4)
            found[name] = views[array.offset : array.offset + len(array)]
    return found


def _is_among(views: Views, allowed: tuple[str, ...], nulls: int) -> bool:
    """Whether each text is one of these, all of which are so short that a view holds them whole, or null."""
    low, high = views.view("<u8").T
    number = nulls + sum(int(np.count_nonzero((low == first) & (high == last))) for first, last in _views_of(allowed))
    return number == len(views)


@cache
def _views_of(texts: tuple[str, ...]) -> list[tuple[np.uint64, np.uint64]]:
    """The views of short texts, as two words each."""
    return [
        tuple(np.frombuffer(len(text).to_bytes(4, "little") + text.encode().ljust(INLINE, b"\0"), "<u8"))
        for text in texts
    ]


def _lies_between(column: pl.Series, least: int, limit: int) -> bool:
    low, high = column.min(), column.max()
    return isinstance(low, int) and isinstance(high, int) and low >= least and high < limit


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
