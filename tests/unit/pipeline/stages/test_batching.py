"""A stage that writes rows is stopped while it gathers them."""

import asyncio
from types import SimpleNamespace

import polars as pl

from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.batching import BatchingStage, Rows


class Writes(BatchingStage[None]):
    """One row for each element."""

    name = "writes"
    topics = ("numbers",)

    def rows(self, element: Element) -> Rows:
        return {"numbers": pl.DataFrame({"offset": [element.begin]})}


class Recorder:
    def __init__(self) -> None:
        self.tables: list[str] = []

    def write(self, table: str, frame: pl.DataFrame, token: str) -> list[object]:
        self.tables.append(table)
        return []


async def test_a_stop_without_grace_ends_the_flush_that_was_told_to_finish_a_moment_before() -> None:
    errors: list[StageError] = []
    sink = Recorder()
    stage = Writes(Settings(), errors.append, writer=sink)
    await stage.open()
    record = SimpleNamespace(offset=0, timestamp=0, timestamp_type=1, key=None, value=b"x")
    effect = await stage.take(Element("numbers", 0, [record], 0, 1, 0, 0, 1))
    assert effect is not None
    for _ in range(5):  # turns of the loop: now it waits for more rows
        await asyncio.sleep(0)
    await stage.finish()
    async with asyncio.timeout(5):
        assert await stage.stop(grace=0.0)
    assert (sink.tables, errors) == ([], [])
