"""The broker fails, refuses, is slow, moves: either the stage goes on by itself, or the worker ends and the next one
goes on. It is never up and deaf, and no row is lost."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import Producer
from faust.types import TP

from pipeline.app import Pipeline
from pipeline.embedded.broker import FETCH, FIND_COORDINATOR, HEARTBEAT, JOIN_GROUP, OFFSET_COMMIT, PRODUCE, SYNC_GROUP
from pipeline.settings import MEGABYTE, Settings
from pipeline.stages import watchdog
from schemas.codecs import TICK
from schemas.topics import ALL, SIGNALS, TRACES
from tests.builders import at
from tests.faults.broker import FaultyBroker, batch_of, produce_raw
from tests.faults.load import Load, event_of
from tests.stages.conftest import Sink, until

pytestmark = pytest.mark.embedded
ENDS_SECONDS = 15.0  # a membership that is broken for good is noticed by then
MOST_WORKERS = 5  # that are started one after the other before one must go on


@pytest.fixture(autouse=True)
def _watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "TROUBLE_SECONDS", 1.0)
    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.2)


@asynccontextmanager
async def running(settings: Settings, sink: Sink, stages: Sequence[str] = ("archive",)) -> AsyncIterator[Pipeline]:
    pipeline = Pipeline(settings, stages, writer=lambda: sink)
    try:
        await pipeline.start()
        yield pipeline
    finally:
        await pipeline.stop(grace=5)


def is_done(pipeline: Pipeline, load: Load) -> bool:
    stage = pipeline.stages["archive"]
    return stage.app.consumer is not None and load.is_confirmed(stage)


async def is_through(pipeline: Pipeline, load: Load) -> bool:
    """Wait until everything is confirmed and committed, or the worker would end; whether it went through."""
    end = asyncio.get_running_loop().time() + ENDS_SECONDS
    group = pipeline.settings.group("archive")
    while pipeline.error is None:
        if is_done(pipeline, load) and await asyncio.to_thread(load.is_committed, group):
            return True
        assert asyncio.get_running_loop().time() < end, "it runs on, and is deaf"
        await asyncio.sleep(0.02)
    return False


async def goes_on_or_ends(pipeline: Pipeline, settings: Settings, sink: Sink, load: Load) -> str:
    """Which of the two. A worker that ended is followed by others, as a supervisor would have it."""
    if await is_through(pipeline, load):
        return "goes on"
    await pipeline.stop(grace=1)
    for _ in range(MOST_WORKERS):
        async with running(settings, sink) as another:
            if await is_through(another, load):
                return "ends"
    raise AssertionError(f"{MOST_WORKERS} workers ended after it, the last because {another.error}")


def no_row_is_lost(load: Load, sink: Sink) -> None:
    rows = {(row["partition"], row["offset"], row["span_id"]) for row in sink.rows["agent_traces"]}
    assert rows == load.produced


@pytest.mark.fault("F11")
async def test_a_broker_that_answers_late_costs_time_alone(
    kafka: FaultyBroker, settings: Settings, sink: Sink, load: Load
) -> None:
    async with running(settings, sink) as pipeline:
        load.produce(20)
        await until(lambda: is_done(pipeline, load))
        epoch = pipeline.stages["archive"].consumer.epoch
        began = time.monotonic()
        kafka.slow_down(500)  # of a session of 2 s
        load.produce(20)
        await until(lambda: is_done(pipeline, load))
        assert time.monotonic() - began > 0.5
        kafka.slow_down(0)
        assert pipeline.stages["archive"].consumer.epoch == epoch
        pipeline.check()
    no_row_is_lost(load, sink)


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (14, "goes on"),  # coordinator loading
        (25, "goes on"),  # unknown member
        (29, "ends"),  # topic not authorised
        pytest.param(7, "goes on", marks=pytest.mark.soak),  # timed out
        pytest.param(16, "goes on", marks=pytest.mark.soak),  # not the coordinator
        pytest.param(22, "goes on", marks=pytest.mark.soak),  # illegal generation
        pytest.param(27, "goes on", marks=pytest.mark.soak),  # rebalance in progress
        pytest.param(30, "ends", marks=pytest.mark.soak),  # group not authorised
    ],
)
async def test_commits_that_are_refused(
    kafka: FaultyBroker, settings: Settings, sink: Sink, load: Load, code: int, expected: str
) -> None:
    async with running(settings, sink) as pipeline:
        load.produce(20)
        await until(lambda: is_done(pipeline, load))
        before = kafka.asked()[OFFSET_COMMIT]
        kafka.fail(OFFSET_COMMIT, *[code] * 3)
        load.produce(20)
        await until(lambda: kafka.asked()[OFFSET_COMMIT] > before or pipeline.error is not None)
        load.produce(20)
        assert await goes_on_or_ends(pipeline, settings, sink, load) == expected
    no_row_is_lost(load, sink)


@pytest.mark.fault("F13")
@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([(HEARTBEAT, 25), (SYNC_GROUP, 42)], id="heartbeat, then sync"),
        pytest.param([(JOIN_GROUP, 30)], id="join"),
        pytest.param([(FIND_COORDINATOR, 30)], id="coordinator"),
    ],
)
async def test_a_membership_that_is_refused_while_nothing_is_read_leaves_no_deaf_worker(
    kafka: FaultyBroker, settings: Settings, sink: Sink, load: Load, faults: list[tuple[int, int]]
) -> None:
    is_running = faults[0][0] == HEARTBEAT
    kafka.asked()
    if not is_running:
        for api, code in faults:
            kafka.fail(api, code)
    async with running(settings, sink) as pipeline:
        if is_running:
            await pipeline.ready()
            before = kafka.asked()[SYNC_GROUP]
            for api, code in faults:
                kafka.fail(api, code)
            await until(lambda: kafka.asked()[SYNC_GROUP] > before)
        load.produce(20)
        await goes_on_or_ends(pipeline, settings, sink, load)
    assert all(kafka.asked()[api] for api, _ in faults)
    no_row_is_lost(load, sink)


@pytest.mark.fault("F14")
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1, "ends"),  # offset out of range
        (6, "goes on"),  # not the leader
        pytest.param(-1, "goes on", marks=pytest.mark.soak),  # unknown
        pytest.param(2, "goes on", marks=pytest.mark.soak),  # corrupt message
        pytest.param(3, "goes on", marks=pytest.mark.soak),  # unknown topic
        pytest.param(29, "ends", marks=pytest.mark.soak),  # topic not authorised
    ],
)
async def test_fetches_that_are_refused(
    kafka: FaultyBroker, settings: Settings, sink: Sink, load: Load, code: int, expected: str
) -> None:
    async with running(settings, sink) as pipeline:
        load.produce(20)
        await until(lambda: is_done(pipeline, load))
        before = kafka.asked()[FETCH]
        kafka.fail(FETCH, *[code] * 3)
        await until(lambda: kafka.asked()[FETCH] > before or pipeline.error is not None)
        load.produce(20)
        assert await goes_on_or_ends(pipeline, settings, sink, load) == expected
    no_row_is_lost(load, sink)


@pytest.mark.fault("F15")
async def test_records_that_were_deleted_before_they_were_read_are_named_exactly(
    kafka: FaultyBroker, settings: Settings, sink: Sink, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(settings, sink) as pipeline:
        load.produce(20)
        await until(lambda: is_done(pipeline, load))
    load.produce(40)
    kafka.delete_records(TRACES.name, 1, 9)  # 5 were read, 15 are there
    async with running(settings, sink) as pipeline:
        await until(lambda: is_done(pipeline, load))
        gaps = pipeline.stages["archive"].consumer.data_gaps
    assert gaps == [(TRACES.name, 1, 5, 9)]
    assert "agent.traces.v1/1: 4 messages were deleted before they were read" in caplog.text
    rows = {(row["partition"], row["offset"], row["span_id"]) for row in sink.rows["agent_traces"]}
    assert {(partition, offset) for partition, offset, _ in load.missing(rows)} == {(1, n) for n in range(5, 9)}


@pytest.mark.fault("F15")
async def test_records_that_are_deleted_while_reading_pauses_are_named_too(
    kafka: FaultyBroker, settings: Settings, sink: Sink, load: Load
) -> None:
    sink.is_down = True
    async with running(settings.model_copy(update={"in_flight_mb": 1}), sink) as pipeline:
        consumer = pipeline.stages["archive"].consumer
        await until(lambda: consumer.frontiers())
        load.produce(600, summary="x" * 7_000)
        await until(lambda: consumer.in_flight_bytes >= MEGABYTE)
        load.produce(600, summary="x" * 7_000)
        begin = consumer.read_positions()[TP(TRACES.name, 0)]
        kafka.delete_records(TRACES.name, 0, 290)
        sink.is_down = False
        await until(lambda: is_done(pipeline, load))
        pipeline.check()
        gaps = consumer.data_gaps
    rows = {(row["partition"], row["offset"], row["span_id"]) for row in sink.rows["agent_traces"]}
    missing = {offset for partition, offset, _ in load.missing(rows) if partition == 0}
    assert begin < 290
    assert [gap[:2] + gap[3:] for gap in gaps] == [(TRACES.name, 0, 290)]
    assert missing == set(range(gaps[0][2], 290))


@pytest.fixture
def three() -> Iterator[FaultyBroker]:
    made = FaultyBroker(ALL, brokers=3)
    yield made
    made.close()


@pytest.mark.fault("F16")
async def test_leaders_and_the_coordinator_move_under_load(three: FaultyBroker, settings: Settings, sink: Sink) -> None:
    moved = settings.model_copy(update={"kafka": three.bootstrap})
    load = Load(three)
    async with running(moved, sink) as pipeline:
        load.produce(20)
        await until(lambda: is_done(pipeline, load))
        for number in (1, 2, 3):
            for partition in range(TRACES.partitions):
                three.move_leader(TRACES.name, partition, 1 + (partition + number) % 3)
            three.move_coordinator(moved.group("archive"), number)
            load.produce(20)
            assert await goes_on_or_ends(pipeline, moved, sink, load) == "goes on"
    no_row_is_lost(load, sink)


@pytest.mark.fault("F49")
async def test_output_that_the_broker_refuses_keeps_the_input_unacknowledged(
    kafka: FaultyBroker, settings: Settings, sink: Sink, load: Load
) -> None:
    load.produce(40)
    for topic in TRACES.name, "system.metrics.v1", "cluster.events.v1":
        for partition in range(TRACES.partitions):
            kafka.produce(topic, [TICK], partition, at(60) // 1000)
    kafka.fail(PRODUCE, *[29] * 40)
    async with running(settings, sink, ["detect"]) as pipeline:
        await asyncio.wait_for(pipeline.failed.wait(), 20)
        assert "Kafka" in str(pipeline.error)
    assert not any(offset > 0 for offset in kafka.committed(settings.group("detect"), TRACES.name))
    kafka.stop_failing(PRODUCE)
    kafka("topic_set_error", SIGNALS.name.encode(), 0)
    async with running(settings, sink, ["detect", "record"]) as pipeline:
        await pipeline.drain(30)
    usage = {(row["source"], row["pane"], row["tool_name"]): row["calls"] for row in sink.rows["agent_usage"]}
    assert sum(usage.values()) == 40


@pytest.mark.fault("F50")
async def test_batches_of_every_codec_are_read(kafka: FaultyBroker, settings: Settings, sink: Sink) -> None:
    codecs = ("gzip", "snappy", "lz4", "zstd")
    for partition, codec in enumerate(codecs):
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "compression.type": codec, "linger.ms": 50})
        for number in range(50):
            value = event_of(number, summary="the same words again and again " * 20)
            producer.produce(TRACES.name, value, partition=partition, timestamp=at(5) // 1000)
        assert producer.flush(10) == 0
    async with running(settings, sink):
        await until(lambda: len(sink.rows["agent_traces"]) == 50 * len(codecs))
    assert {row["partition"] for row in sink.rows["agent_traces"]} == set(range(len(codecs)))


@pytest.mark.fault("F50")
async def test_a_batch_whose_bytes_were_changed_is_not_taken_for_data(
    kafka: FaultyBroker, settings: Settings, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = (batch_of([event_of(number)], at(5) // 1000) for number in (0, 1))
    bad[-20] ^= 0xFF
    for batch in (good, bad, good):
        assert await produce_raw(kafka.bootstrap, TRACES.name, 0, bytes(batch)) == 0
    async with running(settings, sink) as pipeline:
        await asyncio.wait_for(pipeline.failed.wait(), 20)
        assert re.search(r"CorruptRecord.*agent\.traces\.v1.*partition=0", str(pipeline.error))
    assert {row["offset"] for row in sink.rows["agent_traces"]} <= {0}
    assert kafka.committed(settings.group("archive"), TRACES.name)[0] in (-1001, 1)
