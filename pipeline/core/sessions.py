"""Per-session memory as columns: a slot number for each live session, and tables of numbers with one row a slot.

A million live sessions as Python objects would take several kilobytes each and a walk to save; as columns they take
what their numbers take, and are read and written for all sessions of a batch at once. Strings that are needed only now
and then live in dictionaries by slot.

A session is known by the 64-bit hash of (tenant, session_id). Its slot is given back `keep` microseconds of event time
after its last row. Whether a session counts as new is decided by the times of its rows alone; when slots are swept
(once in ten minutes of event time, one pass over a column of times) changes nothing that is said.
"""

from typing import Any, Protocol

import numpy as np

from pipeline.core.span_ids import SpanIds
from schemas.times import MINUTE

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Slots = np.ndarray[Any, np.dtype[np.int64]]
Times = np.ndarray[Any, np.dtype[np.int64]]

KEEP = 6 * 60 * MINUTE
SWEEP = 10 * MINUTE
FIRST_CAPACITY = 256


class Table(Protocol):
    """What a detector keeps by slot."""

    def grow(self, capacity: int) -> None:
        """Make room for this many slots."""

    def reset(self, slots: Slots) -> None:
        """These slots belong to new sessions from now on."""

    def saved(self, slots: Slots) -> Any:
        """What stands at these slots, for a snapshot."""

    def restore(self, saved: Any) -> None:
        """The other way: what was saved stands at slots 0, 1, 2 ... now; there is room for them."""


class Columns:
    """Named numpy columns, one row a slot, zero where nothing was written."""

    def __init__(self, **columns: tuple[str, int]) -> None:
        self.shapes = columns  # name -> (dtype, width; 0: a plain column)
        self.data: dict[str, np.ndarray[Any, np.dtype[Any]]] = {}
        self.grow(FIRST_CAPACITY)

    def __getitem__(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        return self.data[name]

    def grow(self, capacity: int) -> None:
        """Room for `capacity` slots; what is there stays."""
        for name, (dtype, width) in self.shapes.items():
            shape = (capacity, width) if width else (capacity,)
            column = np.zeros(shape, dtype=dtype)
            before = self.data.get(name)
            if before is not None:
                column[: len(before)] = before
            self.data[name] = column

    def reset(self, slots: Slots) -> None:
        """Zero again."""
        for column in self.data.values():
            column[slots] = 0

    def saved(self, slots: Slots) -> Any:
        """Each column at these slots."""
        return {name: column[slots] for name, column in self.data.items()}

    def restore(self, saved: Any) -> None:
        """What was saved stands at slots 0, 1, 2 ... now. Raises KeyError or ValueError where it has another form."""
        for name, column in self.data.items():
            column[: len(saved[name])] = saved[name]

    @property
    def bytes_per_slot(self) -> int:
        """What one session takes here."""
        return sum(column.itemsize * (column.shape[1] if column.ndim == 2 else 1) for column in self.data.values())


class SessionIndex:
    """Which session has which slot; and the ids of the spans that tables remember as numbers."""

    def __init__(self, keep: int = KEEP) -> None:
        self.keep = keep
        self.spans = SpanIds()
        self.capacity = FIRST_CAPACITY
        self._slot_of: dict[int, int] = {}
        self._key = np.zeros(self.capacity, dtype=np.uint64)
        self._touched = np.full(self.capacity, -1, dtype=np.int64)  # -1: free
        self._free = list(range(self.capacity - 1, -1, -1))
        self._tables: list[Table] = []
        self._swept = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def attach(self, table: Table) -> None:
        """Tell this table of new slots from now on."""
        table.grow(self.capacity)
        self._tables.append(table)

    def slots(self, keys: Hashes, at: Times) -> Slots:
        """The slot of each row, given its session's hash and its event time; rows in order of time."""
        known, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        began = at[first]
        last = np.empty_like(began)
        last[inverse] = at  # in order: the last row of a session stays
        found = np.fromiter((self._slot_of.get(key, -1) for key in known.tolist()), np.int64, known.size)
        is_fresh = found < 0
        is_fresh[~is_fresh] = began[~is_fresh] - self._touched[found[~is_fresh]] > self.keep
        missing = np.flatnonzero(found < 0)
        if missing.size:
            found[missing] = self._allocate(known[missing])
        if is_fresh.any():
            fresh = found[is_fresh]
            for table in self._tables:
                table.reset(fresh)
            self._touched[fresh] = last[is_fresh]
        self._touched[found] = np.maximum(self._touched[found], last)
        return found[inverse]

    def expire(self, at: int) -> None:
        """Give back the slots of sessions that were silent for `keep`; does something once in ten minutes."""
        if at // SWEEP <= self._swept:
            return
        self._swept = at // SWEEP
        gone = np.flatnonzero((self._touched >= 0) & (self._touched < at - self.keep))
        if not gone.size:
            return
        for key in self._key[gone].tolist():
            del self._slot_of[key]
        self._touched[gone] = -1
        self._free.extend(gone.tolist())
        for table in self._tables:
            table.reset(gone)

    def saved(self) -> Any:
        """The live sessions and what every table holds of them."""
        slots = np.flatnonzero(self._touched >= 0)
        tables = [table.saved(slots) for table in self._tables]
        return {
            "key": self._key[slots],
            "touched": self._touched[slots],
            "swept": self._swept,
            "tables": tables,
            "span_texts": self.spans.saved(),
        }

    def restore(self, saved: Any) -> None:
        """The other way, into an index that has no sessions yet and the same tables."""
        keys, number = saved["key"], len(saved["key"])
        while self.capacity < number:
            self._grow()
        self._key[:number], self._touched[:number] = keys, saved["touched"]
        self._slot_of = dict(zip(keys.tolist(), range(number), strict=True))
        self._free = list(range(self.capacity - 1, number - 1, -1))
        self._swept = saved["swept"]
        self.spans.restore(saved["span_texts"])
        for table, content in zip(self._tables, saved["tables"], strict=True):
            table.restore(content)

    def _allocate(self, keys: Hashes) -> list[int]:
        while len(self._free) < keys.size:
            self._grow()
        taken = [self._free.pop() for _ in range(keys.size)]
        self._key[taken] = keys
        self._touched[taken] = 0
        self._slot_of.update(zip(keys.tolist(), taken, strict=True))
        return taken

    def _grow(self) -> None:
        before, self.capacity = self.capacity, self.capacity * 2
        self._key = np.concatenate([self._key, np.zeros(before, dtype=np.uint64)])
        self._touched = np.concatenate([self._touched, np.full(before, -1, dtype=np.int64)])
        self._free.extend(range(self.capacity - 1, before - 1, -1))
        for table in self._tables:
            table.grow(self.capacity)


class BySlot(dict[int, Any]):
    """What only few sessions have, by slot."""

    def grow(self, capacity: int) -> None:
        """A dictionary needs no room."""

    def reset(self, slots: Slots) -> None:
        """Forget what these slots had."""
        if self:
            for slot in slots.tolist():
                self.pop(slot, None)

    def saved(self, slots: Slots) -> Any:
        """Place among `slots` -> value."""
        places = {slot: place for place, slot in enumerate(slots.tolist()) if slot in self}
        return {place: self[slot] for slot, place in places.items()}

    def restore(self, saved: Any) -> None:
        """What was saved, at the new slots."""
        self.clear()
        self.update(saved)
