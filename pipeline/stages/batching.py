"""Stages that write rows: what arrived while the last write ran is the next one.

1 `rows` turns an element into frames, a table each; 2 the flush task, which needs no further input to run (H6), takes
everything that waits and writes it, a table at a time; 3 then all its elements are confirmed. A dependency that is down
is waited for, with growing pauses and the same insert token, for ever: reading pauses by itself once the bytes in
flight reach their bound.
"""

import asyncio
import contextlib
import logging
import random
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import polars as pl

from pipeline.frontier import Element
from pipeline.settings import MEGABYTE, Settings
from pipeline.stages.base import Fail, Stage
from schemas.errors import DependencyError
from schemas.signals import stable_hash

log = logging.getLogger(__name__)

Memory = TypeVar("Memory")
Rows = Mapping[str, pl.DataFrame]

GATHER_SECONDS = 0.3  # after the first element, so that slow traffic does not become one insert a message
ENOUGH_BYTES = 4 * MEGABYTE  # gathered: write at once
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


class TableWriter(Protocol):
    """Writes one frame to one table; blocks, called in a thread, one call at a time for each stage.

    Returns the rows that can never be written. Raises DependencyError where it may work later: the sink is down, or is
    not set up as it must be; anything else where it will not.
    """

    def write(self, table: str, frame: pl.DataFrame, token: str) -> Sequence[Any]: ...


class BatchingStage(Stage[Memory]):
    """A stage whose effects are rows."""

    def __init__(self, settings: Settings, fail: Fail, *, writer: TableWriter) -> None:
        super().__init__(settings, fail)
        self.rows_written: dict[str, int] = defaultdict(int)
        self.rows_refused: dict[str, int] = defaultdict(int)
        self._writer = writer
        self._waiting: list[tuple[Element, Rows, asyncio.Future[None]]] = []
        self._waiting_bytes = 0
        self._has_some = asyncio.Event()
        self._has_enough = asyncio.Event()

    @abstractmethod
    def rows(self, element: Element) -> Rows:
        """The rows of an element by table; runs in a thread, one element at a time, in offset order."""

    async def open(self) -> None:
        self.run_beside(self._flush(), "flush")

    async def take(self, element: Element) -> Awaitable[None] | None:
        rows = await asyncio.to_thread(self.rows, element)
        rows = {table: frame for table, frame in rows.items() if frame.height}
        if not rows and not self._waiting:
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((element, rows, future))
        self._waiting_bytes += element.size
        self._has_some.set()
        if self._waiting_bytes >= ENOUGH_BYTES:
            self._has_enough.set()
        return future

    async def finish(self) -> None:
        self._has_enough.set()

    async def _flush(self) -> None:
        while True:
            await self._has_some.wait()
            with contextlib.suppress(TimeoutError):  # what there is will do
                await asyncio.wait_for(self._has_enough.wait(), GATHER_SECONDS)
            taken, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._has_some.clear()
            if not self._is_closing:
                self._has_enough.clear()
            await self._write(taken)
            for _, _, future in taken:
                if not future.done():
                    future.set_result(None)

    async def _write(self, taken: list[tuple[Element, Rows, asyncio.Future[None]]]) -> None:
        frames: dict[str, list[pl.DataFrame]] = defaultdict(list)
        tokens: dict[str, list[str]] = defaultdict(list)
        for element, rows, _ in taken:
            for table, frame in rows.items():
                frames[table].append(frame)
                tokens[table].append(element.token)
        for table, parts in frames.items():
            frame = parts[0] if len(parts) == 1 else pl.concat(parts)
            refused = await self._write_until_taken(table, frame, stable_hash(table, tokens[table]))
            self.rows_written[table] += frame.height - len(refused)
            if refused:
                self.rows_refused[table] += len(refused)
                log.error("%s cannot take %s rows, the first: %r", table, len(refused), refused[0])

    async def _write_until_taken(self, table: str, frame: pl.DataFrame, token: str) -> Sequence[Any]:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                refused = await asyncio.to_thread(self._writer.write, table, frame, token)
            except DependencyError as error:
                if not self.waiting_on:
                    log.warning("%s waits for its sink: %s", self.name, error)
                self.waiting_on = str(error)
            else:
                if self.waiting_on:
                    log.warning("%s goes on: its sink takes rows again", self.name)
                self.waiting_on = ""
                return refused
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads the load
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
