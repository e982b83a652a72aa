"""Two workers of one group: partitions move, elements in hand are dropped and read again, nothing is lost."""

import asyncio
from collections.abc import Awaitable

import pytest

from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.base import Stage, StageError
from schemas.topics import TRACES
from tests.stages.conftest import Start, until
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


async def test_partitions_that_move_to_a_new_worker_and_back_lose_nothing(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    group = settings.group("slow")
    workers: list[Slow] = []
    written = 0

    async def write(count: int) -> None:
        nonlocal written
        for number in range(TRACES.partitions):
            await asyncio.to_thread(kafka.produce, TRACES.name, [b"x"] * count, number)
        written += count

    async def start_another() -> Slow:
        workers.append(Slow(settings))
        await started(workers[-1])
        return workers[-1]

    async def supervise(worker: Slow) -> Slow:
        """As a watchdog and a supervisor do: the mock cluster breaks about one join in three for good."""
        if worker.trouble() is None:
            return worker
        assert "InvalidRequest" in str(worker.trouble())
        await worker.stop(grace=1)
        return await start_another()

    first = await start_another()
    await write(20)
    await until(lambda: len(first.done) >= 40)
    second = await start_another()
    end = asyncio.get_running_loop().time() + 45
    while {len(worker.consumer.frontiers()) for worker in (first, second)} != {2}:
        assert asyncio.get_running_loop().time() < end, "the partitions are not shared"
        await write(3)
        await asyncio.sleep(0.05)
        first, second = await supervise(first), await supervise(second)
    await first.stop()
    await write(10)
    end = asyncio.get_running_loop().time() + 20
    while kafka.committed(group, TRACES.name) != [written] * TRACES.partitions:
        assert asyncio.get_running_loop().time() < end, "the one that is left does not go on"
        second = await supervise(second)
        await asyncio.sleep(0.05)
    await second.stop()

    assert not [error for worker in workers for error in worker.errors]
    done = {place for worker in workers for place in worker.done}
    assert done == {(number, offset) for number in range(TRACES.partitions) for offset in range(written)}
    for worker in workers:  # no memory lives longer than its epoch
        assert len({(number, epoch) for number, epoch, _ in worker.begun}) == len(worker.begun)
