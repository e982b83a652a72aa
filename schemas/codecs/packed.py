"""Values that stand in one run of bytes, as they came from Kafka: places and sizes, no object for each of them."""

from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]

PADDING = bytes(16)  # behind the last value: words are read from any place in it


class Packed(Sequence[bytes | None]):
    """Reads like a list of values; `walk.py` takes it as it is.

    data: ends with PADDING. sizes: -1 where there is no value. high_outside: bytes above 127 that are known to stand
    in `data` outside all values; too few make a check slower, never wrong.
    """

    def __init__(self, data: bytes, starts: Numbers, sizes: Numbers, high_outside: int = 0) -> None:
        self.data, self.starts, self.sizes, self.high_outside = data, starts, sizes, high_outside

    @classmethod
    def of(cls, values: Iterable[bytes | None]) -> "Packed":
        """The same, of values that stand anywhere; copies them."""
        whole = [value or b"" for value in values]
        sizes = np.fromiter(map(len, whole), np.int64, len(whole))
        return cls(b"".join([*whole, PADDING]), np.cumsum(sizes) - sizes, sizes)

    @classmethod
    def joined(cls, parts: Sequence["Packed"], data: bytes | None = None) -> "Packed":
        """All of them, one after the other; copies their bytes, or takes those that were joined before."""
        if len(parts) == 1:
            return parts[0]
        lengths = np.array([len(part.data) for part in parts])
        return cls(
            b"".join(part.data for part in parts) if data is None else data,
            np.concatenate([part.starts for part in parts])
            + np.repeat(np.cumsum(lengths) - lengths, [len(part) for part in parts]),
            np.concatenate([part.sizes for part in parts]),
            sum(part.high_outside for part in parts),
        )

    def __len__(self) -> int:
        return self.sizes.size

    @overload
    def __getitem__(self, place: int) -> bytes | None: ...
    @overload
    def __getitem__(self, place: slice) -> "Packed": ...
    def __getitem__(self, place: int | slice) -> "bytes | Packed | None":
        if isinstance(place, slice):
            return Packed(self.data, self.starts[place], self.sizes[place], self.high_outside)
        start, size = int(self.starts[place]), int(self.sizes[place])
        return None if size < 0 else self.data[start : start + size]
