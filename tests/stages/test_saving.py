"""Stages that save their state: where they go on, what they leave aside and why, what they may commit."""

import logging
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from pipeline.clock import monotonic
from pipeline.core import merge
from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.kafka_connection import KafkaConnection
from pipeline.operators.state import version
from pipeline.settings import Settings
from pipeline.snapshots import Found, Shelf, messages, partition_of_task, task_name
from pipeline.stages.base import StageError
from pipeline.stages.correlate import SOURCES, Correlate
from pipeline.stages.read_back import read_partitions
from pipeline.transport import StaleElementError
from schemas.codecs import TICK
from schemas.codecs.single import decode_record, encode_record
from schemas.signals import Gap, Marker, Reduced
from schemas.topics import SIGNALS, SNAPSHOTS, TRACES
from tests.builders import T0, at, usage
from tests.stages.conftest import Start, until
from tests.stages.detecting import Detecting
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
TASK = task_name("detect", TRACES.name, 0)
PANE = TimeRules().pane


class Correlating(Correlate):
    """With a clock that is turned by hand."""

    def __init__(self, settings: Settings, now: Callable[[], int] = lambda: T0) -> None:
        self.errors: list[StageError] = []
        super().__init__(settings, self.errors.append, limits=Limits(), rules=TimeRules(), now=now)


def ticks(kafka: Broker, *seconds: float) -> None:
    for second in seconds:
        kafka.produce(TRACES.name, [TICK], stamp=at(second) // 1000)


def put(kafka: Broker, *records: tuple[str, bytes | None]) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for key, value in records:
        producer.produce(SNAPSHOTS.name, value, key.encode(), partition=partition_of_task(TASK))
    assert producer.flush(10) == 0


def found(kafka: Broker) -> Found:
    shelf = Shelf(frozenset((TASK,)))
    read_partitions(KafkaConnection(servers=kafka.bootstrap), SNAPSHOTS, {partition_of_task(TASK)}, shelf.put)
    return shelf.take(TASK, version())


def committed(kafka: Broker, settings: Settings) -> int:
    return kafka.committed(settings.group("detect"), TRACES.name)[0]


async def read_in_two_snapshots(kafka: Broker, settings: Settings, started: Start) -> None:
    """Whole snapshots at offsets 2 and 3 of partition 0, and both committed."""
    stage = Detecting(settings)
    await started(stage)
    ticks(kafka, 1, 2)
    await until(lambda: committed(kafka, settings) == 2)
    ticks(kafka, 3)
    await until(lambda: committed(kafka, settings) == 3)
    await stage.stop(grace=0)
    assert not stage.errors
    assert [snapshot.manifest.offset for snapshot in found(kafka).snapshots] == [3, 2]


async def test_a_worker_that_starts_again_reads_on_where_its_snapshot_ends(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    await read_in_two_snapshots(kafka, settings, started)
    before = found(kafka).keys
    ticks(kafka, 4)
    again = Detecting(settings)
    await started(again)
    await until(lambda: committed(kafka, settings) == 4)
    assert again.began[0] == 3
    await until(lambda: not set(before) & set(found(kafka).keys))  # those of the ownership before are deleted
    with pytest.raises(StaleElementError):
        again.consumer.take_restored(again.consumer.epoch - 1)
    assert await again.stop()
    assert found(kafka).newest_epoch == 2


async def test_a_snapshot_that_is_due_waits_until_panes_are_closed(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    closing, calm = (
        T0 + PANE // 5,
        T0 + PANE * 3 // 5,
    )  # since the pane before could be closed: the lateness is two panes
    clock = [closing]
    stage = Detecting(
        settings.model_copy(update={"recorded": False, "pane_seconds": 1, "snapshot_seconds": 1.1}),
        now=lambda: clock[0],
    )
    await started(stage)
    ticks(kafka, 1)
    await until(lambda: stage.is_caught_up({(TRACES.name, 0): 1}))
    due_at = monotonic() + 1.1
    await until(lambda: monotonic() > due_at)
    ticks(kafka, 2)
    await until(lambda: stage.is_caught_up({(TRACES.name, 0): 2}))
    assert found(kafka).snapshot is None
    clock[0] = calm
    ticks(kafka, 3)
    await until(lambda: (whole := found(kafka).snapshot) is not None and whole.manifest.offset == 3)


async def test_what_a_worker_had_saved_and_not_committed_when_it_died_is_committed_though_nothing_more_comes(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    await read_in_two_snapshots(kafka, settings, started)
    other = settings.model_copy(update={"group_prefix": f"{settings.group_prefix}-again"})  # has committed nothing
    again = Detecting(other)
    await started(again)
    await until(lambda: committed(kafka, other) == 3)
    assert again.began == []
    assert await again.stop()


async def test_a_snapshot_that_is_torn_is_left_aside_with_the_reason_and_nothing_is_committed_backwards(
    kafka: Broker, settings: Settings, started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    await read_in_two_snapshots(kafka, settings, started)
    newest = found(kafka).snapshot
    assert newest is not None
    put(kafka, (f"{TASK}/{newest.manifest.epoch}/{newest.manifest.slot}/0", b"torn"))
    again = Detecting(settings.model_copy(update={"snapshot_seconds": 0.0}))
    with caplog.at_level(logging.WARNING):
        await started(again)
        await until(lambda: len(again.began) >= 1)
        await until(lambda: (whole := found(kafka).snapshot) is not None and whole.manifest.offset == 3)
        await again.consumer.commit()
    assert committed(kafka, settings) == 3
    assert again.began == [2]
    assert f"{newest.manifest.slot}/manifest is left aside: chunk 0 of 1 is missing or not the one" in caplog.text
    ticks(kafka, 4)
    await until(lambda: committed(kafka, settings) == 4)


async def test_a_whole_snapshot_whose_state_is_of_another_form_is_left_aside_for_the_one_before(
    kafka: Broker, settings: Settings, started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    await read_in_two_snapshots(kafka, settings, started)
    chunks, manifest = messages(
        TASK, "7-other", 0, version(), 4, [b'{"state": {"d": [["version", "?"]]}, "shared": []}']
    )
    put(kafka, *chunks, manifest)
    ticks(kafka, 4)
    again = Detecting(settings)
    await started(again)
    await until(lambda: committed(kafka, settings) == 4)
    assert again.began[0] == 3
    assert f"snapshot of {TASK} at 4 is left aside: the snapshot was written by version ?" in caplog.text


async def test_snapshots_of_another_version_or_another_log_are_named_and_the_whole_log_is_read_again(
    kafka: Broker, settings: Settings, started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    ticks(kafka, 1, 2)
    old, old_manifest = messages(TASK, "1-old", 0, "0/polars-0.1", 1, [b"x"])
    far, far_manifest = messages(TASK, "2-far", 0, version(), 1_000, [b"x"])
    put(kafka, *old, old_manifest, *far, far_manifest)
    stage = Detecting(settings)
    await started(stage)
    await until(lambda: committed(kafka, settings) == 2)
    assert stage.began[0] == 0
    assert f"1-old/0/manifest is left aside: written by version 0/polars-0.1, this is {version()}" in caplog.text
    assert f"snapshot of {TASK} at 1000 is left aside: the log has 0 to 2" in caplog.text
    assert f"{TASK} has no snapshot it can use and reads its log again from offset 0" in caplog.text


# -- correlate


def a_row(source: str, pane: int) -> Reduced:
    return Reduced(source=source, pane=pane, run="a", row=usage(pane, 1))


def a_marker(source: str, pane: int, rows: int = 0) -> Marker:
    return Marker(source=source, pane=pane, run="a", rows=rows)


def write(kafka: Broker, *records: Reduced | Marker) -> None:
    kafka.produce(SIGNALS.name, [encode_record(record) for record in records], stamp=T0 // 1000)


@pytest.mark.fault("F31")
async def test_a_source_that_fell_silent_before_the_start_is_named_though_nothing_is_read(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    pane = at(0)
    write(kafka, *(a_marker(source, pane) for source in SOURCES))
    first = Correlating(settings)
    await started(first)
    await until(lambda: kafka.committed(settings.group("correlate"), SIGNALS.name)[0] == len(SOURCES))
    assert await first.stop()

    now = T0

    def clock() -> int:
        nonlocal now
        now += 61_000_000
        return now

    again = Correlating(settings.model_copy(update={"recorded": False}), clock)
    await started(again)
    await until(lambda: len(kafka.records(SIGNALS.name, 0)) == 2 * len(SOURCES))
    await again.stop()
    assert not again.errors
    gaps = [decode_record(value) for value, _ in kafka.records(SIGNALS.name, 0)[len(SOURCES) :] if value]
    assert {gap.source: gap.pane for gap in gaps if isinstance(gap, Gap)} == dict.fromkeys(SOURCES, pane)


async def test_no_source_is_named_silent_in_recorded_data(kafka: Broker, settings: Settings, started: Start) -> None:
    stage = Correlating(settings)
    await started(stage)
    await until(lambda: stage.consumer.frontiers())
    assert not [task for task in stage._tasks if task.get_name() == "correlate: silent sources"]


async def test_full_of_rows_that_wait_it_pauses_and_goes_on_when_those_behind_have_spoken(
    kafka: Broker, settings: Settings, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "MOST_HELD_ROWS", 3)
    ahead, *behind = SOURCES
    panes = [at(0) + number * PANE for number in range(6)]
    stage = Correlating(settings)
    await started(stage)
    for number, pane in enumerate(panes):
        write(kafka, a_row(ahead, pane), a_marker(ahead, pane, 1))
        if number < 3:
            await until(lambda number=number: stage.progress.messages == 2 * (number + 1))
    await until(lambda: stage.waiting_on)
    assert f"3 rows of signals.v1/0 wait for {', '.join(sorted(behind)[:2])}" in stage.waiting_on
    write(kafka, *(a_marker(source, panes[-1]) for source in behind[:-1]))
    assert stage.progress.messages == 6
    write(kafka, a_marker(behind[-1], panes[-1]))
    await until(lambda: stage.progress.messages == 2 * len(panes) + len(behind))
    assert stage.waiting_on == ""
    assert stage._memories[SIGNALS.name, 0].held_rows == 0
    assert not stage.errors
    assert await stage.stop()


async def test_stopping_while_it_pauses_takes_nothing_and_ends_in_time(
    kafka: Broker, settings: Settings, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "MOST_HELD_ROWS", 1)
    stage = Correlating(settings)
    await started(stage)
    write(kafka, a_row(SOURCES[0], at(0)), a_marker(SOURCES[0], at(0), 1))
    await until(lambda: kafka.committed(settings.group("correlate"), SIGNALS.name)[0] == 2)
    write(kafka, a_marker(SOURCES[0], at(0) + PANE))
    await until(lambda: stage.waiting_on)
    assert await stage.stop(grace=5)
    assert not stage.errors
    assert kafka.committed(settings.group("correlate"), SIGNALS.name)[0] == 2
