"""Span ids as numbers, so that a session's columns can name the steps it remembers at eight bytes each.

An id of sixteen hex digits, as OpenTelemetry has them, is its own number. Any other id is known by its hash, and its
text is kept beside it for as long as a session remembers it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.rows import Rows
from pipeline.core.sessions import Hashes, Slots

MOST_TEXTS = 200_000  # texts before those that no session remembers are dropped
LONGEST = 64  # characters that are kept of an id
PLAIN = "^[0-9a-f]{16}$"


class SpanIds:
    """Number -> id, for those that are not their own number."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}

    def numbers(self, rows: Rows, places: Slots, alive: "Callable[[], set[int]]") -> Hashes:
        """The numbers of these rows' spans; `alive` tells which numbers are still remembered."""
        ids = rows.take(places, ("span_id",))["span_id"]
        if not len(ids):
            return np.zeros(0, dtype=np.uint64)
        is_plain = ids.str.contains(PLAIN)
        value = ids.str.to_integer(base=16, dtype=pl.UInt64, strict=False)
        found: Any = pl.select(pl.when(is_plain).then(value).otherwise(ids.hash(11))).to_series().to_numpy().copy()
        others = np.flatnonzero(~is_plain.to_numpy())
        if others.size:
            if len(self.texts) > MOST_TEXTS:
                kept = alive()
                self.texts = {number: text for number, text in self.texts.items() if number in kept}
            texts = ids.gather(others.tolist()).to_list()
            self.texts.update(zip(found[others].tolist(), (text[:LONGEST] for text in texts), strict=True))
        return found  # type: ignore[no-any-return]

    def text(self, number: int) -> str | None:
        """The id; None for zero, which stands for no span."""
        return (self.texts.get(number) or f"{number:016x}") if number else None
