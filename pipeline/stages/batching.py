"""Stages that write rows: what arrived while the last write ran is the next one.

1 `rows` turns an element into frames, a table each; 2 a flush task, which needs no further input to run (H6), takes
everything that waits and writes it, all tables at once; 3 then all its elements are confirmed. Nothing waits for
company: a write begins at once, but `gap_seconds` after the last one began. What may not wait equally long does not
wait for each other either: each gap has a lane and a flush task of its own. Where `reads_late`, the gap begins with the
first message, and rows are not made before they are written: what is urgent has the core until then. A dependency that
is down is waited for, with growing pauses, longer where it asks for that, and the same insert token, for ever: reading
pauses by itself once the bytes in flight reach their bound.
"""

import asyncio
import contextlib
import logging
import math
import random
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import orjson
import polars as pl

from pipeline.frontier import MICROS_PER_MS, Element
from pipeline.settings import MEGABYTE, Settings
from pipeline.stages.base import Fail, Stage
from pipeline.stages.publish import Outgoing, Publisher
from schemas.errors import DependencyError, Reason, Rejected
from schemas.signals import stable_hash
from schemas.topics import DEAD_LETTERS
from sinks.dead_letters import dead_letter_message

log = logging.getLogger(__name__)

Memory = TypeVar("Memory")
Rows = Mapping[str, pl.DataFrame]
Waiting = tuple[Element, Rows | None, asyncio.Future[None]]  # None: not read yet

GAP_SECONDS = 0.3  # between the beginnings of two writes, so that slow traffic does not become one insert a message
ENOUGH_BYTES = 4 * MEGABYTE  # waiting: write at once
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0  # also the longest time until a sink that is back gets rows


class RefusedRow(Protocol):
    """A row that a table can never take, and why."""

    @property
    def row(self) -> dict[str, Any]: ...
    @property
    def detail(self) -> str: ...


class TableWriter(Protocol):
    """Writes one frame to one table; blocks, called from several threads.

    Returns the rows that can never be written. Raises DependencyError where it may work later: the sink is down, or is
    not set up as it must be; anything else where it will not.
    """

    def write(self, table: str, frame: pl.DataFrame, token: str) -> Sequence[RefusedRow]: ...


class _Lane:
    """What waits for the next write, and may wait equally long after the one before began; where it `is_late`, after
    the first of it came."""

    def __init__(self, gap_seconds: float, *, is_late: bool) -> None:
        self.waiting: list[Waiting] = []
        self.is_late = is_late
        self._gap_seconds = gap_seconds
        self._bytes = 0
        self._began_at = -math.inf  # the gap, by the loop's clock
        self._news = asyncio.Event()

    def add(self, element: Element, rows: Rows | None) -> asyncio.Future[None]:
        """Returns what resolves when the rows are written."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if self.is_late and not self.waiting:
            self._began_at = loop.time()
        self.waiting.append((element, rows, future))
        self._bytes += element.size
        self._news.set()
        return future

    def hurry(self) -> None:
        """Whoever waits looks again whether to go on waiting."""
        self._news.set()

    async def due(self, is_closing: Callable[[], bool]) -> list[Waiting]:
        """Everything that waits, once there is any and long enough after the last write began, or enough of it."""
        now = asyncio.get_running_loop().time
        while True:
            self._news.clear()
            if not self.waiting:
                await self._news.wait()
                continue
            left = self._began_at + self._gap_seconds - now()
            if left <= 0 or self._bytes >= ENOUGH_BYTES or is_closing():
                taken, self.waiting, self._bytes, self._began_at = self.waiting, [], 0, now()
                return taken
            with contextlib.suppress(TimeoutError):  # what there is will do
                async with asyncio.timeout(left):
                    await self._news.wait()


class BatchingStage(Stage[Memory]):
    """A stage whose effects are rows."""

    def __init__(self, settings: Settings, fail: Fail, *, writer: TableWriter) -> None:
        super().__init__(settings, fail)
        self.rows_written: dict[str, int] = defaultdict(int)
        self.rows_refused: dict[str, int] = defaultdict(int)
        self.writes: dict[str, int] = defaultdict(int)  # batches that were taken, by table
        self.retries = 0  # batches that were not, and went once more
        self._writer = writer
        self._lanes: dict[tuple[float, bool], _Lane] = {}  # by their gap, and whether they are late
        self._down: dict[str, str] = {}  # table -> why it takes nothing now
        self._publisher: Publisher | None = None  # made for the first row that is refused: most workers never have one

    @abstractmethod
    def rows(self, element: Element) -> Rows:
        """The rows of an element by table; runs in a thread, one element at a time, in offset order.

        Each table has a frame of its own: they are written at once, and of two threads with one frame of polars the one
        that has the interpreter waits for the frame, and the one that has the frame for the interpreter, for ever.
        """

    def gap_seconds(self, topic: str) -> float:
        """How long after the last write began rows of this topic may wait for the next one."""
        return GAP_SECONDS

    def reads_late(self, topic: str) -> bool:
        """Whether messages of this topic wait unread for the end of their gap."""
        return False

    async def take(self, element: Element) -> Awaitable[None] | None:
        lane = self._lane(element.topic)
        if lane.is_late:
            return lane.add(element, None)
        rows = await asyncio.to_thread(self._rows, element)
        if not rows and not lane.waiting:
            return None
        return lane.add(element, rows)

    def _rows(self, element: Element) -> Rows:
        return {table: frame for table, frame in self.rows(element).items() if frame.height}

    def _lane(self, topic: str) -> _Lane:
        kind = self.gap_seconds(topic), self.reads_late(topic)
        if kind not in self._lanes:
            lane = self._lanes[kind] = _Lane(kind[0], is_late=kind[1])
            self.run_beside(self._flush(lane), "flush")
        return self._lanes[kind]

    async def close(self) -> None:
        if self._publisher is not None:
            await self._publisher.close()

    async def finish(self) -> None:
        for lane in self._lanes.values():
            lane.hurry()

    async def _flush(self, lane: _Lane) -> None:
        while True:
            taken = await lane.due(lambda: self.is_closing)
            parts: dict[str, list[tuple[Element, pl.DataFrame]]] = defaultdict(list)
            for element, rows, _ in taken:
                rows = rows if rows is not None else await self._read_late(element)
                for table, frame in rows.items():
                    parts[table].append((element, frame))
            await asyncio.gather(*(self._write(table, found) for table, found in parts.items()))
            for _, _, future in taken:
                if not future.done():
                    future.set_result(None)

    async def _read_late(self, element: Element) -> Rows:
        try:
            return await asyncio.to_thread(self._rows, element)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # polars panics are no Exception
            self.failed_at(element, error)
            raise

    async def _write(self, table: str, found: list[tuple[Element, pl.DataFrame]]) -> None:
        frame = found[0][1] if len(found) == 1 else pl.concat([part for _, part in found])
        token = stable_hash(table, [element.token for element, _ in found])
        refused = await self._write_until_taken(table, frame, token)
        self.writes[table] += 1
        self.rows_written[table] += frame.height - len(refused)
        if refused:
            self.rows_refused[table] += len(refused)
            log.error("%s cannot take %s rows, the first because: %s", table, len(refused), refused[0].detail)
            await self._bury(table, found, refused)

    async def _bury(
        self, table: str, parts: Sequence[tuple[Element, pl.DataFrame]], refused: Sequence[RefusedRow]
    ) -> None:
        """Refused rows as dead letters, and wait until Kafka has them."""
        if parts[0][0].topic == DEAD_LETTERS.name:
            return  # it is one already: a dead letter of a dead letter would never end
        self._count_dead_letter(Reason.WRONG_TYPE, len(refused))
        await self.send_dead_letters(await asyncio.to_thread(dead_letters, self.name, table, parts, refused))

    async def send_dead_letters(self, messages: Sequence[Outgoing]) -> None:
        """And wait until Kafka has them."""
        if self._publisher is None:
            self._publisher = Publisher(
                self.settings.kafka_connection, f"{self.settings.group(self.name)}.dead_letters"
            )
        await (await self._publisher.send(messages))

    async def _write_until_taken(self, table: str, frame: pl.DataFrame, token: str) -> Sequence[RefusedRow]:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                refused = await asyncio.to_thread(self._writer.write, table, frame, token)
            except DependencyError as error:
                wanted = error.retry_after or 0.0
                if not self._down:
                    log.warning("%s waits for its sink: %s", self.name, error)
                self._down[table] = self.waiting_on = str(error)
                self.retries += 1
            else:
                if self._down.pop(table, "") and not self._down:
                    log.warning("%s goes on: its sink takes rows again", self.name)
                self.waiting_on = next(iter(self._down.values()), "")
                return refused
            await asyncio.sleep(max(wanted, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - only spreads the load
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def dead_letters(
    stage: str, table: str, parts: Sequence[tuple[Element, pl.DataFrame]], refused: Sequence[RefusedRow]
) -> list[Outgoing]:
    """A dead letter for each refused row: its message as it came; the row as JSON where a message makes several."""
    elements = {repr(row): element for element, frame in parts for row in frame.iter_rows(named=True)}
    messages = []
    for item in refused:
        element = elements[repr(item.row)]
        is_raw = item.row.get("topic") == element.topic  # a raw table's row: one message, named in it
        offset = item.row["offset"] if is_raw else element.records[0].offset
        record = next(record for record in element.records if record.offset == offset)
        rejected = Rejected(
            offset=offset,
            reason=Reason.WRONG_TYPE,
            detail=f"ClickHouse does not take its row in {table}: {item.detail[:500]}",
            value=(record.value or b"") if is_raw else orjson.dumps(item.row, default=str),
            key=record.key if is_raw else None,
            ingest_time=record.timestamp * MICROS_PER_MS,
        )
        value = dead_letter_message(rejected, element.topic, element.partition, stage)
        messages.append(Outgoing(DEAD_LETTERS.name, value, element.topic.encode()))
    return messages
