"""Span ids as numbers, so that a session's columns can name the steps it remembers at eight bytes each.

An id of sixteen hex digits, as OpenTelemetry has them, is its own number. Any other id is known by its hash, and its
text is kept beside it for as long as a session remembers it: what is remembered stands in the columns that were named
to `kept_in`.
"""

import binascii
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

Numbers = np.ndarray[Any, np.dtype[np.uint64]]

MOST_TEXTS = 200_000  # texts before those that no session remembers are dropped
DIGITS = 16  # of an id that is its own number
LONGEST = 64  # characters that are kept of an id
PLAIN = "^[0-9a-f]{16}$"


class SpanIds:
    """Number -> id, for those that are not their own number."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._columns: list[Callable[[], Numbers]] = []
        self._most = MOST_TEXTS

    def kept_in(self, column: Callable[[], Numbers]) -> None:
        """Numbers that stand in this column are remembered."""
        self._columns.append(column)

    def numbers(self, ids: pl.Series) -> Numbers:
        """The numbers of these spans."""
        if not len(ids):
            return np.zeros(0, dtype=np.uint64)
        plain = _as_digits(ids)
        if plain is not None:
            return plain
        is_plain = ids.str.contains(PLAIN)
        value = ids.str.to_integer(base=16, dtype=pl.UInt64, strict=False)
        found: Numbers = pl.select(pl.when(is_plain).then(value).otherwise(ids.hash(11))).to_series().to_numpy()
        others = np.flatnonzero(~is_plain.to_numpy())
        if len(self._texts) > self._most:
            self._forget()
            self._most = max(MOST_TEXTS, 2 * len(self._texts))  # else it would be looked through with every batch
        texts = ids.gather(others.tolist()).to_list()
        self._texts.update(zip(found[others].tolist(), (text[:LONGEST] for text in texts), strict=True))
        return found

    def text(self, number: int) -> str | None:
        """The id; None for zero, which stands for no span."""
        return (self._texts.get(number) or f"{number:016x}") if number else None

    def texts(self, numbers: Numbers) -> list[str | None]:
        """The same of many."""
        if self._texts or not numbers.all():
            return [self.text(number) for number in numbers.tolist()]
        digits = numbers.astype(">u8").tobytes().hex()
        return [digits[at : at + 16] for at in range(0, len(digits), 16)]

    def saved(self) -> Any:
        """The texts that are remembered, for a snapshot."""
        self._forget()
        return self._texts

    def restore(self, saved: Any) -> None:
        """The other way."""
        self._texts = saved

    def _forget(self) -> None:
        """Drop the texts that no session remembers."""
        if self._texts:
            alive = {int(number) for column in self._columns for number in np.unique(column())}
            self._texts = {number: text for number, text in self._texts.items() if number in alive}


def _as_digits(ids: pl.Series) -> Numbers | None:
    """The numbers of ids that all have sixteen hex digits, from the run of bytes in which they stand; else None."""
    array = ids.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, places, texts = array.buffers()
    at = np.frombuffer(places, np.int64)[array.offset : array.offset + len(array) + 1]
    if (np.diff(at) != DIGITS).any():
        return None
    text = texts.to_pybytes()[at[0] : at[-1]]
    try:
        found = binascii.unhexlify(text)
    except binascii.Error:
        return None
    return None if text != text.lower() else np.frombuffer(found, ">u8").astype(np.uint64)
