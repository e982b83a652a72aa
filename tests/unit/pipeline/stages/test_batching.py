"""When rows are written: the first at once, and what comes soon after it together; and a stop meanwhile."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import polars as pl

from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.batching import BatchingStage, Rows
from schemas.errors import Outcome

NEVER = 3_600.0


class Sink:
    """Keeps the numbers that were written, by write."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.let_go = threading.Event()  # of what is held

    def write(self, table: str, frame: pl.DataFrame, token: str) -> list[Any]:
        self.written.append(frame["n"].to_list())
        return []


class HeldSink(Sink):
    """Writes of the number 1 wait until they are let go."""

    def write(self, table: str, frame: pl.DataFrame, token: str) -> list[Any]:
        if frame["n"][0] == 1 and not self.let_go.wait(30):
            raise TimeoutError
        return super().write(table, frame, token)


class MeetingSink(Sink):
    """A write waits for that of another table."""

    def __init__(self) -> None:
        super().__init__()
        self._meet = threading.Barrier(2, timeout=30)

    def write(self, table: str, frame: pl.DataFrame, token: str) -> list[Any]:
        self._meet.wait()
        return super().write(table, frame, token)


class Numbers(BatchingStage[None]):
    """One row an element: the offset where it begins."""

    name = "numbers"
    topics = ("slow", "later", "soon", "unread", "never read")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.read: list[int] = []

    def gap_seconds(self, topic: str) -> float:
        return {"slow": NEVER, "later": 2.0, "soon": 0.0, "unread": 1.0, "never read": NEVER}[topic]

    def reads_late(self, topic: str) -> bool:
        return topic in ("unread", "never read")

    def rows(self, element: Element) -> Rows:
        self.read.append(element.begin)
        return {"numbers": pl.DataFrame({"n": [element.begin]})}


class Twice(Numbers):
    """The same number in two tables."""

    def rows(self, element: Element) -> Rows:
        return {table: pl.DataFrame({"n": [element.begin]}) for table in ("numbers", "again")}


class Message:
    """A record of one offset."""

    timestamp, timestamp_type, key, value = 0, 0, None, b""

    def __init__(self, offset: int) -> None:
        self.offset = offset


def element(topic: str, at: int) -> Element:
    return Element(topic, 0, [Message(at)], at, at + 1, 1, 0, 1)


@asynccontextmanager
async def running(kind: type[Numbers], sink: Sink) -> AsyncIterator[Numbers]:
    stage = kind(Settings(), lambda error: None, writer=sink)
    await stage.open()
    try:
        yield stage
    finally:
        sink.let_go.set()
        await stage.stop(grace=0)


async def test_the_first_rows_are_written_at_once_and_later_ones_when_their_gap_is_over() -> None:
    sink = Sink()
    async with running(Numbers, sink) as stage:
        first = await stage.take(element("later", 1))
        assert first is not None
        await asyncio.wait_for(first, 10)
        second, third = await stage.take(element("later", 2)), await stage.take(element("later", 3))
        assert second is not None
        assert third is not None
        assert sink.written == [[1]]
        soon = await stage.take(element("soon", 4))
        assert soon is not None
        await asyncio.wait_for(asyncio.gather(second, third, soon), 10)
        assert sink.written == [[1], [4], [2, 3]]


async def test_what_is_wanted_soon_is_not_behind_a_write_that_takes_long() -> None:
    sink = HeldSink()
    async with running(Numbers, sink) as stage:
        slow, soon = await stage.take(element("slow", 1)), await stage.take(element("soon", 2))
        assert isinstance(slow, asyncio.Future)
        assert soon is not None
        await asyncio.wait_for(soon, 10)
        assert (sink.written, slow.done()) == ([[2]], False)
        sink.let_go.set()
        await asyncio.wait_for(slow, 10)


async def test_the_tables_of_a_write_are_written_at_once() -> None:
    sink = MeetingSink()
    async with running(Twice, sink) as stage:
        both = await stage.take(element("soon", 1))
        assert both is not None
        await asyncio.wait_for(both, 30)
        assert sink.written == [[1], [1]]


async def test_a_stop_without_grace_ends_the_flush_that_was_told_to_finish_a_moment_before() -> None:
    sink, errors = Sink(), list[StageError]()
    stage = Numbers(Settings(), errors.append, writer=sink)
    await stage.open()
    first = await stage.take(element("slow", 1))
    assert first is not None
    await asyncio.wait_for(first, 10)
    assert await stage.take(element("slow", 2)) is not None
    for _ in range(5):  # turns of the loop: now it waits for its gap to be over
        await asyncio.sleep(0)
    await stage.finish()
    async with asyncio.timeout(5):
        assert await stage.stop(grace=0.0)
    assert (sink.written, errors) == ([[1]], [])


async def test_what_is_read_late_waits_unread_for_the_end_of_its_gap_and_is_written_together() -> None:
    sink = Sink()
    async with running(Numbers, sink) as stage:
        first, second = await stage.take(element("unread", 1)), await stage.take(element("unread", 2))
        assert first is not None
        assert second is not None
        await asyncio.wait_for(await stage.take(element("soon", 3)) or asyncio.sleep(0), 10)
        assert (stage.read, sink.written) == ([3], [[3]])
        await asyncio.wait_for(asyncio.gather(first, second), 10)
        assert (stage.read, sink.written) == ([3, 1, 2], [[3], [1, 2]])


async def test_a_stop_does_not_wait_for_the_end_of_a_gap() -> None:
    sink = Sink()
    async with running(Numbers, sink) as stage:
        effect = await stage.take(element("never read", 1))
        assert effect is not None
        stage._is_closing = True
        await stage.finish()
        await asyncio.wait_for(effect, 10)
        assert sink.written == [[1]]


class Unreadable(Numbers):
    """Nothing can be read."""

    def rows(self, element: Element) -> Rows:
        raise pl.exceptions.PanicException("no rows")


async def test_what_cannot_be_read_late_ends_the_stage_and_says_where() -> None:
    said: asyncio.Future[StageError] = asyncio.get_running_loop().create_future()
    stage = Unreadable(Settings(), said.set_result, writer=Sink())
    await stage.open()
    assert await stage.take(element("unread", 7)) is not None
    error = await asyncio.wait_for(said, 10)
    await stage.stop(grace=0)
    assert "unread/0 at offset 7" in str(error)
    assert stage.counters["unread"][Outcome.FAILED] == 1
