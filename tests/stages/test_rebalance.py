"""Two workers of one group: partitions move, elements in hand are dropped and read again, nothing is lost."""

import asyncio
from collections.abc import Awaitable

import pytest

from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.base import Stage, StageError
from schemas.topics import TRACES
from tests.stages.conftest import until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded


class Slow(Stage[list[int]]):
    """Takes its time for each effect; what it has confirmed is what it has done."""

    name = "slow"
    topics = (TRACES.name,)

    def __init__(self, settings: Settings) -> None:
        self.errors: list[StageError] = []
        super().__init__(settings, self.errors.append)
        self.done: list[tuple[int, int]] = []
        self.begun: list[tuple[int, int, int]] = []  # partition, epoch, first offset its memory saw

    def remember(self, element: Element) -> list[int]:
        self.begun.append((element.partition, element.epoch, element.begin))
        return []

    async def take(self, element: Element) -> Awaitable[None]:
        self.memory(element).extend(record.offset for record in element.records)
        return self._effect(element)

    async def _effect(self, element: Element) -> None:
        await asyncio.sleep(0.02)
        self.done += [(element.partition, record.offset) for record in element.records]


async def test_partitions_that_move_to_a_new_worker_lose_nothing(kafka: Broker, settings: Settings) -> None:
    group, workers = settings.group("slow"), [Slow(settings), Slow(settings)]
    await workers[0].start()
    written = 0

    async def write(count: int) -> None:
        nonlocal written
        for number in range(TRACES.partitions):
            await asyncio.to_thread(kafka.produce, TRACES.name, [b"x"] * count, number)
        written += count

    await write(20)
    await until(lambda: len(workers[0].done) >= 40)
    await workers[1].start()
    while not workers[1].consumer.frontiers() or len(workers[0].consumer.frontiers()) == TRACES.partitions:
        await write(3)
        assert written < 3000, "the second worker is given nothing"
        await asyncio.sleep(0.02)
    assert len(workers[0].consumer.frontiers()) + len(workers[1].consumer.frontiers()) == TRACES.partitions
    await write(10)
    await until(lambda: kafka.committed(group, TRACES.name) == [written] * TRACES.partitions)

    assert await workers[0].stop()  # and back
    await write(10)
    await until(lambda: kafka.committed(group, TRACES.name) == [written] * TRACES.partitions)
    assert await workers[1].stop()
    assert not workers[0].errors + workers[1].errors
    done = set(workers[0].done) | set(workers[1].done)
    assert done == {(number, offset) for number in range(TRACES.partitions) for offset in range(written)}
    for worker in workers:  # no memory lives longer than its epoch
        assert len({(number, epoch) for number, epoch, _ in worker.begun}) == len(worker.begun)
