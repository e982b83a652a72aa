"""No snapshot can be used, and the log begins later than the state would need: it starts anew, says nothing of what it
cannot know whole, and marks what may have a cause it does not remember."""

import json

import pytest
from confluent_kafka import Producer

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.kafka_connection import KafkaConnection
from pipeline.settings import Settings
from pipeline.snapshots import partition_of_task, task_name
from pipeline.stages.base import StageError
from pipeline.stages.correlate import SOURCES, Correlate
from pipeline.stages.read_back import read_partitions
from schemas.codecs import TICK
from schemas.codecs.single import decode_incident, decode_record, encode_record
from schemas.incidents import Incident
from schemas.signals import Forgetting, Marker, Reduced, Signal
from schemas.times import MINUTE
from schemas.topics import INCIDENTS, SIGNALS, SNAPSHOTS, TRACES, source_name
from tests.builders import T0, at
from tests.faults.broker import FaultyBroker
from tests.faults.load import event_of
from tests.stages.conftest import Start, until
from tests.stages.detecting import Detecting

pytestmark = pytest.mark.embedded
PANE = TimeRules().pane
DELETED_BEFORE = 30


def delete_snapshots(kafka: FaultyBroker, task: str) -> int:
    """Tombstones for every key of the task; how many."""
    keys: set[str] = set()
    read_partitions(
        KafkaConnection(servers=kafka.bootstrap), SNAPSHOTS, {partition_of_task(task)}, lambda key, _: keys.add(key)
    )
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for key in keys:
        producer.produce(SNAPSHOTS.name, None, key.encode(), partition=partition_of_task(task))
    assert producer.flush(10) == 0
    return len(keys)


@pytest.mark.fault("F26")
async def test_without_a_snapshot_and_without_the_beginning_of_the_log_the_first_minute_says_only_that_it_forgot(
    kafka: FaultyBroker, settings: Settings, started: Start
) -> None:
    for number in range(60):  # an event every 5 s, five minutes
        kafka.produce(TRACES.name, [event_of(100 * number)], stamp=at(5 * number) // 1000)
    first = Detecting(settings)
    await started(first)
    await until(lambda: kafka.committed(settings.group("detect"), TRACES.name)[0] == 60)
    assert await first.stop()
    sent_before = {number: len(kafka.records(SIGNALS.name, number)) for number in range(SIGNALS.partitions)}
    assert delete_snapshots(kafka, task_name("detect", TRACES.name, 0)) > 0
    kafka.delete_records(TRACES.name, 0, DELETED_BEFORE)
    kafka.produce(TRACES.name, [TICK], stamp=at(600) // 1000)

    again = Detecting(settings)
    await started(again)
    await until(lambda: kafka.committed(settings.group("detect"), TRACES.name)[0] == 61)
    assert await again.stop()
    assert not again.errors
    assert again.began[0] == DELETED_BEFORE
    assert again.consumer.data_gaps == []  # all of it had been read
    said = [
        decode_record(value)
        for number in range(SIGNALS.partitions)
        for value, _ in kafka.records(SIGNALS.name, number)[sent_before[number] :]
        if value is not None
    ]
    mine = [m.pane for m in said if isinstance(m, Marker | Reduced) and m.source == source_name(TRACES.name, 0)]
    assert min(mine) >= at(5 * DELETED_BEFORE) + MINUTE
    source = source_name(TRACES.name, 0)
    told = Forgetting(source=source, pane=min(mine), offset=DELETED_BEFORE)
    assert [m for m in said if isinstance(m, Forgetting) and m.source == source] == [told] * SIGNALS.partitions
    for number in range(SIGNALS.partitions):  # before anything else of its run
        first_said = decode_record(kafka.records(SIGNALS.name, number)[sent_before[number]][0] or b"")
        assert first_said == told


def symptom(number: int, scope: str = "prod/shop") -> Signal:
    """A pod that does not come up, in this pane."""
    at_pane = T0 + number * PANE
    cited = {"type": "signal", "topic": "t", "partition": 0, "offset": 0, "event_id": "x", "event_time": at_pane}
    shown = {"references": [{**cited, "resource": None, "shows": "x"}], "is_strong": True, "reason": "BackOff"}
    return Signal(
        signal_id="x", type="symptom.kubernetes", tenant="acme", window_start=at_pane, window_end=at_pane + PANE,
        detected_at=at_pane + PANE, scope=scope, resource=f"{scope}/pod/web-0", evidence=json.dumps(shown),
    )  # fmt: skip


def write_panes(kafka: FaultyBroker) -> None:
    """Two panes of all sources in partition 0 of signals.v1; in the second a pod fails."""
    row = Reduced(SOURCES[0], T0 + PANE, "a", symptom(1))
    for number, rows in ((0, []), (1, [row])):
        markers = [
            Marker(source=source, pane=T0 + number * PANE, run="a", rows=len(rows) if source == SOURCES[0] else 0)
            for source in SOURCES
        ]
        messages = [encode_record(message) for message in (*rows, *markers)]
        kafka.produce(SIGNALS.name, messages, stamp=(T0 + number * PANE) // 1000)


def said(kafka: FaultyBroker) -> list[Incident]:
    return [
        decode_incident(value)
        for number in range(INCIDENTS.partitions)
        for value, _ in kafka.records(INCIDENTS.name, number)
        if value is not None
    ]


@pytest.mark.fault("F26")
async def test_what_correlate_says_after_detect_forgot_is_marked_provisional(
    kafka: FaultyBroker, settings: Settings, started: Start
) -> None:
    errors: list[StageError] = []
    write_panes(kafka)
    forgot = Forgetting(source=SOURCES[1], pane=T0 + 14 * PANE, offset=DELETED_BEFORE)
    row = Reduced(SOURCES[0], T0 + 14 * PANE, "a", symptom(14, "prod/pay"))
    markers = [
        Marker(source=source, pane=T0 + 14 * PANE, run="a", rows=1 if source == SOURCES[0] else 0) for source in SOURCES
    ]
    kafka.produce(SIGNALS.name, [encode_record(message) for message in (forgot, row, *markers)], stamp=T0 // 1000)
    stage = Correlate(settings, errors.append, limits=Limits(), rules=TimeRules(), now=lambda: T0)
    await started(stage)
    end = 2 * len(SOURCES) + 1 + len(SOURCES) + 2
    await until(lambda: stage.consumer.frontiers().get((SIGNALS.name, 0)) == end)
    assert await stage.stop()
    assert errors == []
    assert [(one.kind, one.scope, one.provisional) for one in said(kafka)] == [
        ("infrastructure_failure", "prod/shop", False),
        ("infrastructure_failure", "prod/pay", True),
        ("telemetry_gap", None, False),
    ]


@pytest.mark.fault("F26")
async def test_what_correlate_says_without_its_snapshot_and_without_the_beginning_of_its_log_is_marked_provisional(
    kafka: FaultyBroker, settings: Settings, started: Start
) -> None:
    errors: list[StageError] = []

    async def correlate(upto: int) -> None:
        stage = Correlate(settings, errors.append, limits=Limits(), rules=TimeRules(), now=lambda: T0)
        await started(stage)
        await until(lambda: stage.consumer.frontiers().get((SIGNALS.name, 0)) == upto)
        assert await stage.stop()

    write_panes(kafka)
    end = 2 * len(SOURCES) + 1
    await correlate(end)
    (firm,) = said(kafka)
    assert (firm.kind, firm.provisional) == ("infrastructure_failure", False)
    assert delete_snapshots(kafka, task_name("correlate", SIGNALS.name, 0)) > 0
    kafka.delete_records(SIGNALS.name, 0, 5)  # a worker of a later day finds the log like this

    await correlate(end)
    assert errors == []
    again = {incident.kind: incident for incident in said(kafka)[1:]}
    assert again["infrastructure_failure"] == firm.model_copy(update={"provisional": True})
    lost = again["telemetry_gap"]
    assert lost.status == "open"
    assert "signals.v1 begins at offset 5" in lost.summary
