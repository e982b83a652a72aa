"""Rows of closed panes as a detector gets them: the frame, and its numeric columns as numpy, each read once."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.panes import hash_of
from pipeline.core.sessions import Hashes, SessionIndex, Slots, Times


@dataclass(slots=True)
class Rows:
    """One or more closed panes: ordered by pane and event time, equal keys folded, with a column `pane`.

    slots: for AgentSpan rows the slot of each row's session; empty otherwise.
    """

    frame: pl.DataFrame
    pane_size: int
    slots: Slots = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _cache: dict[str, np.ndarray[Any, np.dtype[Any]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.frame.height

    def ints(self, name: str, missing: int = -1) -> Times:
        """An integer column; `missing` where it is null."""
        found = self._cache.get(name)
        if found is None:
            column = self.frame[name]
            found = (column.fill_null(missing) if column.null_count() else column).to_numpy()
            self._cache[name] = found
        return found

    def hashes(self, name: str) -> Hashes:
        """The hash of each value of a text column; 0 where it is null."""
        key = f"hash {name}"
        if key not in self._cache:
            column = self.frame[name]
            found = column.hash(7).to_numpy()
            if column.null_count():
                found = np.where(column.is_null().to_numpy(), np.uint64(0), found)
            self._cache[key] = found
        return self._cache[key]

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


@cache
def hash_of_text(value: str) -> np.uint64:
    """What `Rows.hashes` has for this text."""
    return np.uint64(pl.Series([value]).hash(7)[0])


def with_sessions(frame: pl.DataFrame, pane_size: int, index: SessionIndex) -> Rows:
    """AgentSpan rows with their sessions' slots."""
    rows = Rows(frame, pane_size)
    if frame.height:
        rows.slots = index.slots(hash_of(frame, ("tenant", "session_id")), rows.ints("event_time"))
    return rows
