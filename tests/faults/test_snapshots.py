"""No snapshot can be used, and the log begins later than the state would need: it starts anew, and says nothing of what
it cannot know whole."""

from collections.abc import Awaitable

import pytest
from confluent_kafka import Producer

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.frontier import Element
from pipeline.kafka_connection import KafkaConnection
from pipeline.settings import Settings
from pipeline.snapshots import Shelf, partition_of_task, task_name
from pipeline.stages.base import StageError
from pipeline.stages.detect import Detect
from pipeline.stages.read_back import read_partitions
from schemas.codecs import TICK
from schemas.codecs.single import decode_record
from schemas.signals import Marker, Reduced
from schemas.times import MINUTE
from schemas.topics import SIGNALS, SNAPSHOTS, TRACES, source_name
from tests.builders import T0, at
from tests.faults.broker import FaultyBroker
from tests.faults.load import event_of
from tests.stages.conftest import Start, until

pytestmark = pytest.mark.embedded
TASK = task_name("detect", TRACES.name, 0)
DELETED_BEFORE = 30


class Detecting(Detect):
    """Remembers where it began to read partition 0."""

    def __init__(self, settings: Settings) -> None:
        self.errors: list[StageError] = []
        self.began: list[int] = []
        super().__init__(settings, self.errors.append, limits=Limits(), rules=TimeRules(), now=lambda: T0)

    async def take(self, element: Element) -> Awaitable[None]:
        if element.partition == 0:
            self.began.append(element.records[0].offset)
        return await super().take(element)


def delete_snapshots(kafka: FaultyBroker) -> int:
    """Tombstones for every key of the task; how many."""
    keys: set[str] = set()
    read_partitions(
        KafkaConnection(servers=kafka.bootstrap), SNAPSHOTS, {partition_of_task(TASK)}, lambda key, _: keys.add(key)
    )
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for key in keys:
        producer.produce(SNAPSHOTS.name, None, key.encode(), partition=partition_of_task(TASK))
    assert producer.flush(10) == 0
    return len(keys)


@pytest.mark.fault("F26")
async def test_without_a_snapshot_and_without_the_beginning_of_the_log_the_first_minute_says_nothing(
    kafka: FaultyBroker, settings: Settings, started: Start
) -> None:
    for number in range(60):  # an event every 5 s, five minutes
        kafka.produce(TRACES.name, [event_of(100 * number)], stamp=at(5 * number) // 1000)
    first = Detecting(settings)
    await started(first)
    await until(lambda: kafka.committed(settings.group("detect"), TRACES.name)[0] == 60)
    assert await first.stop()
    sent_before = {number: len(kafka.records(SIGNALS.name, number)) for number in range(SIGNALS.partitions)}
    assert delete_snapshots(kafka) > 0
    kafka.delete_records(TRACES.name, 0, DELETED_BEFORE)
    kafka.produce(TRACES.name, [TICK], stamp=at(600) // 1000)

    again = Detecting(settings)
    await started(again)
    await until(lambda: kafka.committed(settings.group("detect"), TRACES.name)[0] == 61)
    assert await again.stop()
    assert not again.errors
    assert again.began[0] == DELETED_BEFORE
    assert again.consumer.data_gaps == []  # all of it had been read
    shelf = Shelf(frozenset((TASK,)))
    read_partitions(KafkaConnection(servers=kafka.bootstrap), SNAPSHOTS, {partition_of_task(TASK)}, shelf.put)
    said = [
        decode_record(value)
        for number in range(SIGNALS.partitions)
        for value, _ in kafka.records(SIGNALS.name, number)[sent_before[number] :]
        if value is not None
    ]
    mine = [m.pane for m in said if isinstance(m, Marker | Reduced) and m.source == source_name(TRACES.name, 0)]
    assert min(mine) >= at(5 * DELETED_BEFORE) + MINUTE
