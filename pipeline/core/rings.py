"""A ring of sums: what was used in each of the last cells of event time. Windows that end now are runs of its cells."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(slots=True)
class Ring:
    """cells: a row for each thing counted, a column for each `width` microseconds; newest: number of the last."""

    width: int
    cells: "np.ndarray[Any, np.dtype[np.int64]]"
    newest: int = -1

    @classmethod
    def of(cls, width: int, length: int, things: int) -> "Ring":
        """An empty ring of `length` cells."""
        return cls(width, np.zeros((things, length), dtype=np.int64))

    def add(self, at: int, amounts: tuple[int, ...]) -> None:
        """Add amounts at a moment; moments never go back by more than a cell."""
        number, length = at // self.width, self.cells.shape[1]
        if number > self.newest:
            passed = min(number - self.newest, length)
            self.cells[:, np.arange(number - passed + 1, number + 1) % length] = 0
            self.newest = number
        self.cells[:, number % length] += amounts

    def last(self, span: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """The cells of the window of this length that ends with the newest, oldest first."""
        length = span // self.width
        return self.cells[:, np.arange(self.newest - length + 1, self.newest + 1) % self.cells.shape[1]]
