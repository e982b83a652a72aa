"""Per-key memory with an expiry in event time, found by bucket and not by scanning."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from schemas.times import MINUTE


@runtime_checkable
class KeepsItself(Protocol):
    """A memory that is not kept by session: the operator saves it and lets it expire by itself."""

    def saved(self) -> Any:
        """What is remembered, for a snapshot."""

    def restore(self, saved: Any) -> None:
        """The other way."""

    def expire(self, at: int) -> None:
        """Forget what is too old at this moment of event time."""


K = TypeVar("K")
V = TypeVar("V")


class Memory(Generic[K, V]):
    """A dictionary whose entries leave `keep` microseconds of event time after they were last touched.

    Expiry is decided by the time of the rows, never by when it is looked at: `get` hands out a fresh value for a key
    whose time is over, also if its bucket has not been swept yet.
    """

    def __init__(self, fresh: Callable[[], V], keep: int, bucket: int = 10 * MINUTE) -> None:
        self._fresh = fresh
        self.keep = keep
        self._bucket = bucket
        self._values: dict[K, V] = {}
        self._touched: dict[K, int] = {}
        self._buckets: dict[int, set[K]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def is_live(self, key: K, at: int) -> bool:
        """Whether `get` at this moment would hand out a value that is there already."""
        before = self._touched.get(key)
        return before is not None and at - before <= self.keep

    def peek(self, key: K) -> V | None:
        """The value if there is one, untouched."""
        return self._values.get(key)

    def get(self, key: K, at: int) -> V:
        """The value of a key, made if it is new or was silent for longer than `keep`; touches it at `at`."""
        value = self._values.get(key)
        before = self._touched.get(key)
        if value is None or (before is not None and at - before > self.keep):
            value = self._values[key] = self._fresh()
        if before is None or at > before:
            new = at // self._bucket
            if before is None or before // self._bucket != new:
                if before is not None:
                    self._buckets.get(before // self._bucket, set()).discard(key)
                self._buckets.setdefault(new, set()).add(key)
            self._touched[key] = at
        return value

    def items(self) -> Iterable[tuple[K, V]]:
        """Every entry, untouched; some may be over, and not swept yet."""
        return self._values.items()

    def expire(self, at: int) -> None:
        """Drop every bucket that is wholly older than `keep` at this moment of event time."""
        oldest = (at - self.keep) // self._bucket
        for number in [number for number in self._buckets if number < oldest]:
            for key in self._buckets.pop(number):
                self._values.pop(key, None)
                self._touched.pop(key, None)

    def saved(self) -> Any:
        """The entries and when each was last touched, for a snapshot."""
        return {"values": self._values, "touched": self._touched}

    def restore(self, saved: Any) -> None:
        """The other way."""
        self._values, self._touched = saved["values"], saved["touched"]
        self._buckets = {}
        for key, at in self._touched.items():
            self._buckets.setdefault(at // self._bucket, set()).add(key)
