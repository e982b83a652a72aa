"""The transport on a broker: what is handed out, where reading starts, what is committed."""

import asyncio
import threading
from collections.abc import Awaitable
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from faust.types import TP

from pipeline.embedded.broker import SYNC_GROUP
from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.base import Stage, StageError
from pipeline.transport import GAP_SECONDS, BatchConsumer
from schemas.errors import Outcome
from tests.stages.conftest import Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
TOPIC = "dead_letters.v1"  # one partition


class Recorder(Stage[None]):
    """Keeps the elements; each is confirmed when the test says so."""

    name = "recorder"
    topics = (TOPIC,)

    def __init__(
        self, settings: Settings, *, rewinds: bool = False, confirms: bool = True, breaks_at: int = -1
    ) -> None:
        self.errors: list[StageError] = []
        super().__init__(settings, self.errors.append)
        type(self).rewinds = rewinds
        self.elements: list[Element] = []
        self.effects: list[asyncio.Future[None]] = []
        self._confirms = confirms
        self._breaks_at = breaks_at

    async def take(self, element: Element) -> Awaitable[None] | None:
        if element.begin <= self._breaks_at < element.end:
            raise LookupError("this was not foreseen")
        self.elements.append(element)
        if self._confirms:
            return None
        self.effects.append(asyncio.get_running_loop().create_future())
        return self.effects[-1]

    @property
    def offsets(self) -> list[int]:
        return [record.offset for element in self.elements for record in element.records]


async def test_all_records_of_a_fetch_come_as_one_element(kafka: Broker, settings: Settings, started: Start) -> None:
    kafka.produce(TOPIC, [b"%d" % number for number in range(500)])
    stage = Recorder(settings)
    await started(stage)
    await until(lambda: len(stage.offsets) == 500)
    await stage.stop()
    assert len(stage.elements) < 250  # how many the broker hands out at once depends on the machine
    assert stage.offsets == list(range(500))
    batch = stage.elements[0].batch()
    assert (batch.topic, batch.partition, batch.values[0]) == (TOPIC, 0, b"0")
    assert kafka.committed(settings.group("recorder"), TOPIC) == [500]


async def test_after_a_fetch_that_left_nothing_the_next_one_waits(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    stage = Recorder(settings)
    await started(stage)
    began = monotonic()
    for count in range(1, 12):
        kafka.produce(TOPIC, [b"x"])
        await until(lambda count=count: len(stage.offsets) == count)
    assert monotonic() - began >= 10 * GAP_SECONDS


async def test_what_is_left_behind_by_a_fetch_is_fetched_at_once(
    kafka: Broker, settings: Settings, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):  # a batch each, of which this broker hands out one at a time
        kafka.produce(TOPIC, [b"%d" % number])
    monkeypatch.setattr(Recorder, "fetch_gap_seconds", lambda _: 3_600.0)
    stage = Recorder(settings)
    await started(stage)
    await until(lambda: stage.offsets == list(range(40)))
    await stage.stop()


async def test_a_fetch_after_a_wait_brings_what_came_during_the_wait_too(
    kafka: Broker, settings: Settings, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps = iter((2.0, 3_600.0))
    monkeypatch.setattr(Recorder, "fetch_gap_seconds", lambda _: next(gaps))
    stage = Recorder(settings)
    await started(stage)
    for count in (1, 2, 3):  # the first is read; the second is the answer that aiokafka keeps meanwhile
        kafka.produce(TOPIC, [b"x"])
        await until(lambda count=count: count == 3 or stage.consumer.end_seen(TOPIC, 0) == count)
        await until(lambda: stage.offsets)
    await until(lambda: stage.offsets == [0, 1, 2])
    await stage.stop()


async def test_what_was_fetched_while_the_stage_was_busy_does_not_wait_for_the_next_fetch(
    kafka: Broker, settings: Settings, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[float]()

    def gap(_: Recorder) -> float:
        asked.append(0.0 if not asked else 3_600.0)
        return asked[-1]

    is_free = asyncio.Event()
    take = Recorder.take

    async def busy(stage: Recorder, element: Element) -> Awaitable[None] | None:
        await is_free.wait()
        return await take(stage, element)

    monkeypatch.setattr(Recorder, "fetch_gap_seconds", gap)
    monkeypatch.setattr(Recorder, "take", busy)
    stage = Recorder(settings)
    await started(stage)
    for count in (1, 2):
        kafka.produce(TOPIC, [b"x"])
        await until(lambda count=count: len(asked) == count)
    is_free.set()
    await until(lambda: stage.offsets == [0, 1])
    await stage.stop()


async def test_nothing_is_committed_past_an_element_without_confirmed_effect(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    stage = Recorder(settings, confirms=False)
    await started(stage)
    for count in range(1, 5):
        kafka.produce(TOPIC, [b"x"])
        await until(lambda count=count: len(stage.elements) == count)
    group = settings.group("recorder")
    for number in (0, 2, 3):  # a single hole: what Faust's own check commits over
        stage.effects[number].set_result(None)
    await until(lambda: kafka.committed(group, TOPIC) == [1])
    await until(lambda: stage.progress.confirmed == 3)
    await stage.consumer.commit()
    assert kafka.committed(group, TOPIC) == [1]
    stage.effects[1].set_result(None)
    await until(lambda: kafka.committed(group, TOPIC) == [4])
    assert await stage.stop()


async def test_a_stateless_stage_starts_where_it_was_confirmed_and_one_that_rewinds_at_the_start(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    kafka.produce(TOPIC, [b"x"] * 3)
    first = Recorder(settings)
    await started(first)
    await until(lambda: first.offsets == [0, 1, 2])
    assert await first.stop()
    kafka.produce(TOPIC, [b"y"] * 2)

    second = Recorder(settings)
    await started(second)
    await until(lambda: second.offsets == [3, 4])
    assert second.elements[0].floor == 3
    assert await second.stop()

    third = Recorder(settings, rewinds=True)
    await started(third)
    await until(lambda: third.offsets == [0, 1, 2, 3, 4])
    assert third.elements[0].floor == 5
    assert await third.stop()
    assert kafka.committed(settings.group("recorder"), TOPIC) == [5]


async def test_an_error_in_a_stage_ends_it_and_commits_nothing_of_the_element(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    kafka.produce(TOPIC, [b"x"] * 3)
    stage = Recorder(settings, breaks_at=4)
    await started(stage)
    await until(lambda: len(stage.offsets) == 3)
    kafka.produce(TOPIC, [b"y"] * 3)
    await until(lambda: stage.errors)
    kafka.produce(TOPIC, [b"z"] * 3)
    assert "recorder failed at dead_letters.v1/0 at offset 3: LookupError: this was not foreseen" in str(
        stage.errors[0]
    )
    assert stage.counters[TOPIC][Outcome.FAILED] == 3
    await stage.stop()
    assert kafka.committed(settings.group("recorder"), TOPIC) == [3]
    assert stage.offsets == [0, 1, 2]


async def test_reading_pauses_while_too_many_bytes_are_unconfirmed(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    stage = Recorder(settings.model_copy(update={"in_flight_mb": 1}), confirms=False)
    await started(stage)
    kafka.produce(TOPIC, [b"x" * 400_000] * 4)
    # what is in flight has also reached the stage
    await until(lambda: len(stage.offsets) * 400_000 >= stage.consumer.in_flight_bytes >= 1 << 20)
    read = len(stage.offsets)
    kafka.produce(TOPIC, [b"y" * 400_000] * 2)
    with pytest.raises(AssertionError):
        await until(lambda: len(stage.offsets) > read, seconds=1.5)
    confirmed = 0
    while len(stage.offsets) < 6 or confirmed < len(stage.effects):
        if confirmed < len(stage.effects):
            stage.effects[confirmed].set_result(None)
            confirmed += 1
        await asyncio.sleep(0.01)
    assert await stage.stop()


async def test_a_coordinator_error_while_nothing_is_read_is_not_silent(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    kafka.fail(SYNC_GROUP, 42)
    stage = Recorder(settings)
    await started(stage)
    await until(lambda: stage.trouble())
    assert "InvalidRequest" in str(stage.trouble()) or "crashed" in str(stage.trouble())
    await stage.stop()


async def test_what_was_handed_out_after_the_seek_waits_for_the_flow_to_go_on() -> None:
    """A fetch that began before a rebalance returns after its seek, while Faust still holds the flow back."""
    place = TP(TOPIC, 0)
    record = SimpleNamespace(offset=7, timestamp=0, timestamp_type=1, key=None, value=b"7")
    old, new = (Element(TOPIC, 0, [record], 7, 8, epoch=epoch, floor=0, size=1) for epoch in (1, 2))
    fetched: list[Element] = [old, new]

    async def wait_next_records(timeout: float) -> tuple[dict[TP, list[Element]], set[TP]]:
        consumer.flow_active = False
        return {place: [fetched.pop()]} if fetched else {}, set()

    consumer = SimpleNamespace(
        _held={}, _lock=threading.Lock(), epoch=2, untaken=0, in_flight_bytes=0, flow_active=True, should_stop=False,
        transport=SimpleNamespace(in_flight_bytes=1000), app=SimpleNamespace(monitor=Mock()), highwater=lambda tp: 8,
        _wait_next_records=wait_next_records, _to_message=lambda tp, element: element,
    )  # fmt: skip
    assert [item async for item in BatchConsumer.getmany(cast(Any, consumer), 1.0)] == []

    async def goes_on(timeout: float) -> tuple[dict[TP, list[Element]], set[TP]]:
        return {}, set()

    consumer.flow_active, consumer._wait_next_records = True, goes_on
    assert [item async for item in BatchConsumer.getmany(cast(Any, consumer), 1.0)] == [(place, new)]
    consumer._wait_next_records = wait_next_records
    assert [item async for item in BatchConsumer.getmany(cast(Any, consumer), 1.0)] == []
    consumer.flow_active, consumer._wait_next_records = True, goes_on
    assert [item async for item in BatchConsumer.getmany(cast(Any, consumer), 1.0)] == [], "an older epoch comes again"
