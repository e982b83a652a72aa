"""Rows of closed panes as a detector gets them: the frame, and its numeric columns as numpy, each read once."""

from collections.abc import Callable, Iterable, Sequence, Set
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.panes import mix
from pipeline.core.sessions import Hashes, SessionIndex, Slots, Times
from pipeline.core.span_ids import SpanIds
from schemas.signals import Action

# text columns of AgentSpan whose hashes are asked for with every batch
HASHED = frozenset(
    {
        "tenant", "session_id", "root_session_id", "parent_span_id", "agent_id", "agent_version", "task_type",
        "operation", "model", "tool_name", "tool_args", "args_digest", "result_digest", "access", "target", "status",
        "finish_reason", "approval", "error_type",
    }
)  # fmt: skip
SEED = 7  # of the hashes of texts


class Rows:
    """One or more closed panes: ordered by pane and event time, equal keys folded, with a column `pane`.

    held: the frame as it came; order: the place in it of each row (None: it is in order). Putting a frame of text
    columns in order costs more than all that is asked of most of them, so only numbers are, and the rows one takes.
    slots: for AgentSpan rows the slot of each row's session; empty otherwise. spans: their spans as numbers
    (span_ids.py).
    actions: for AgentSpan rows the actions among them, each with what its session had observed before it.
    """

    def __init__(self, held: pl.DataFrame, pane_size: int, order: Slots | None = None) -> None:
        self.pane_size = pane_size
        self.slots: Slots = np.zeros(0, dtype=np.int64)
        self.spans: Hashes = np.zeros(0, dtype=np.uint64)
        self.actions: Sequence[Action] = ()
        self._held = held
        self._order = order
        self._frame: pl.DataFrame | None = None
        self._cache: dict[str, np.ndarray[Any, np.dtype[Any]]] = {}

    def __len__(self) -> int:
        return self._held.height

    @property
    def frame(self) -> pl.DataFrame:
        """All columns in order: for those who need most of them."""
        if self._frame is None:
            self._frame = self._held if self._order is None else self._held[self._order]
        return self._frame

    def take(self, places: Slots, names: Iterable[str]) -> pl.DataFrame:
        """These rows and columns."""
        return self._held[list(names)][self._index(places)]

    def texts(self, name: str, places: Slots) -> list[Any]:
        """One column of these rows as a list."""
        return self._held[name][self._index(places)].to_list()

    def ints(self, name: str, missing: int = -1) -> Times:
        """An integer column; `missing` where it is null."""
        found = self._cache.get(name)
        if found is None:
            column = self._held[name]
            found = self._in_order(_filled_up(column, missing) if column.null_count() else column.to_numpy())
            self._cache[name] = found
        return found

    def floats(self, name: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """A column of numbers that is never null."""
        return self._in_order(self._held[name].to_numpy())

    def hashes(self, name: str) -> Hashes:
        """The hash of each value of a text column; 0 where it is null."""
        key = f"hash {name}"
        if key not in self._cache:
            self._hash(HASHED.intersection(self._held.columns) if name in HASHED else {name})
        return self._cache[key]

    def _hash(self, names: Set[str]) -> None:
        """Hash these columns in one query: one for each would cost more than the hashes of a small batch."""
        nulls = {name: self._held[name].null_count() for name in names}
        some = [name for name in names if nulls[name] < len(self)]
        hashed = self._held.select(pl.col(some).hash(SEED))
        for name in names:
            found = hashed[name].to_numpy() if name in some else np.zeros(len(self), dtype=np.uint64)
            if name in some and nulls[name]:
                found = np.where(found == hash_of_text(None), np.uint64(0), found)
            self._cache[f"hash {name}"] = self._in_order(found)

    def numbers_of(self, name: str, spans: SpanIds) -> Hashes:
        """A column of span ids as numbers."""
        return self._in_order(spans.numbers(self._held[name]))

    def filled(self, name: str) -> Slots:
        """Places where a column is not null."""
        column = self._held[name]
        nulls = column.null_count()
        if nulls in (0, len(column)):
            return np.arange(len(column) - nulls)
        return np.flatnonzero(self._in_order(_is_filled(column)))

    def equals(self, name: str, *values: str) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Where a text column is one of these values; false where it is null."""
        key = f"equals {name} {values}"
        if key not in self._cache:
            own = self.hashes(name)
            found = own == hash_of_text(values[0])
            for value in values[1:]:
                found |= own == hash_of_text(value)
            self._cache[key] = found
        return self._cache[key]

    def _index(self, places: Slots) -> pl.Series:
        """Where these rows stand, in the type that polars takes as it is: another is looked through and made that."""
        return pl.Series((places if self._order is None else self._order[places]).astype(np.uint32))

    def _in_order(self, column: "np.ndarray[Any, np.dtype[Any]]") -> "np.ndarray[Any, np.dtype[Any]]":
        return column if self._order is None else column[self._order]


@cache
def hash_of_text(value: str | None) -> np.uint64:
    """What polars makes of this text, which is what `Rows.hashes` has for it, or of none.

    Asked late: a query while this file is imported starts the threads of polars, and a process forked after that, as
    workers are in tests, waits for threads that it does not have.
    """
    return np.uint64(pl.Series([value], dtype=pl.String).hash(SEED)[0])


def _is_filled(column: pl.Series) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Where a column that has nulls has none: read from its Arrow buffer, for polars makes a query of it."""
    array = column.to_arrow(compat_level=pl.CompatLevel.newest())  # as it is: text is not copied
    end = array.offset + len(array)
    bits = np.unpackbits(np.frombuffer(array.buffers()[0], np.uint8), count=end, bitorder="little")
    return bits[array.offset :].view(np.bool_)


def _filled_up(column: pl.Series, missing: int) -> Times:
    """A column of Int64 that has nulls, with another number in their place. The same way."""
    array = column.to_arrow()
    values = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array)]
    return np.where(_is_filled(column), values, missing)


def with_sessions(rows: Rows, index: SessionIndex) -> Rows:
    """AgentSpan rows with their sessions' slots and the numbers of their spans filled in."""
    if len(rows):
        rows.slots = index.slots(mix([rows.hashes("tenant"), rows.hashes("session_id")]), rows.ints("event_time"))
        rows.spans = rows.numbers_of("span_id", index.spans)
    return rows


def asked(rows: Rows, places: Slots, names: tuple[str, ...], ask: Callable[..., Any]) -> "np.ndarray[Any, Any]":
    """What `ask` says of these columns for each of these rows; it is called once a combination, not once a row."""
    combined = mix([rows.hashes(name)[places] for name in names])
    _, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
    answers = [ask(*values) for values in rows.take(places[first], names).rows()]
    return np.array(answers)[inverse]
