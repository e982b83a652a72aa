"""Two workers of one group: partitions move, elements in hand are dropped and read again, nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from alerts.rules.samples import sample_incident
from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.base import Stage, StageError
from schemas.codecs.single import encode_incident
from schemas.topics import INCIDENTS, TRACES, Topic
from tests.faults.receiver import FaultyReceiver, notify_to
from tests.stages.conftest import Start, until


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


@pytest.fixture
async def started() -> AsyncIterator[Start]:
    """Start a worker; at the end of the test whatever still runs is stopped."""
    running: list[Stage[Any]] = []

    async def start(worker: Stage[Any]) -> None:
        running.append(worker)
        await worker.start()

    yield start
    for worker in running:
        await worker.stop(grace=0.0)


def produce(kafka: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": kafka, "log_level": 0})
    for partition in range(TRACES.partitions):
        for _ in range(count):
            producer.produce(TRACES.name, b"x", partition=partition)
    assert producer.flush(20) == 0


def tell(kafka: str, *names: str) -> None:
    """An incident of each name, in turn to the partitions."""
    producer = Producer({"bootstrap.servers": kafka, "log_level": 0})
    for number, name in enumerate(names):
        fields = {"incident_id": name, "kind": "feedback_loop", "tenant": "acme", "severity": "critical"}
        incident = encode_incident(sample_incident({**fields, "status": "open"}))
        producer.produce(INCIDENTS.name, incident, partition=number % INCIDENTS.partitions)
    assert producer.flush(20) == 0


def committed(kafka: str, group: str, topic: Topic = TRACES) -> list[int]:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group, "log_level": 0})
    places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    offsets = [place.offset for place in consumer.committed(places, timeout=20)]
    consumer.close()
    return offsets


@pytest.mark.fault("F07")
async def test_partitions_that_move_to_a_new_worker_and_back_lose_nothing(
    recorded_settings: Settings, started: Start
) -> None:
    settings = recorded_settings
    kafka, group = settings.kafka, settings.group("slow")
    first, second = Slow(settings), Slow(settings)
    written = 0

    async def write(count: int) -> None:
        nonlocal written
        await asyncio.to_thread(produce, kafka, count)
        written += count

    await started(first)
    await write(20)
    await until(lambda: len(first.done) >= 40, seconds=60)
    await started(second)
    end = asyncio.get_running_loop().time() + 90
    while {len(worker.consumer.frontiers()) for worker in (first, second)} != {2}:
        assert asyncio.get_running_loop().time() < end, "the partitions are not shared"
        await write(3)
        await asyncio.sleep(0.1)
    assert await first.stop()
    await write(10)
    end = asyncio.get_running_loop().time() + 90
    while await asyncio.to_thread(committed, kafka, group) != [written] * TRACES.partitions:
        assert asyncio.get_running_loop().time() < end, "the one that is left does not go on"
        await asyncio.sleep(0.1)
    done = set(first.done) | set(second.done)
    assert done == {(partition, offset) for partition in range(TRACES.partitions) for offset in range(written)}
    for worker in (first, second):
        assert worker.errors == []
        assert len({(partition, epoch) for partition, epoch, _ in worker.begun}) == len(worker.begun)


@pytest.mark.fault("F40")
async def test_two_workers_that_see_incidents_while_partitions_move_send_one_dedup_key_for_each(
    recorded_settings: Settings, started: Start
) -> None:
    kafka, group = recorded_settings.kafka, recorded_settings.group("notify")
    with FaultyReceiver() as receiver:
        first, errors = notify_to(recorded_settings, hook=receiver)
        second, more_errors = notify_to(recorded_settings, hook=receiver)
        await started(first)
        await until(lambda: first.consumer.frontiers(), seconds=60)
        told = [f"before-{number}" for number in range(8)]
        await asyncio.to_thread(tell, kafka, *told)
        await started(second)
        end = asyncio.get_running_loop().time() + 90
        while {len(worker.consumer.frontiers()) for worker in (first, second)} != {INCIDENTS.partitions // 2}:
            assert asyncio.get_running_loop().time() < end, "the partitions are not shared"
            told += (new := [f"between-{len(told) + number}" for number in range(4)])
            await asyncio.to_thread(tell, kafka, *new)
            await asyncio.sleep(0.05)
        told += (new := [f"after-{number}" for number in range(8)])
        await asyncio.to_thread(tell, kafka, *new)
        while sum(await asyncio.to_thread(committed, kafka, group, INCIDENTS)) != len(told):
            assert asyncio.get_running_loop().time() < end, "not all incidents are done with"
            await asyncio.sleep(0.1)
        keys: dict[str, set[str]] = {}
        for page in receiver.pages:
            keys.setdefault(page.incident, set()).add(page.dedup_key)
    assert keys.keys() == set(told)
    assert all(len(found) == 1 for found in keys.values())
    assert errors + more_errors == []
