"""Workers are killed or told to stop at the worst moment: the next one goes on, and the judge sees no difference."""

import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.rules.samples import sample_incident
from pipeline.kafka_connection import KafkaConnection
from pipeline.offsets import Offsets
from pipeline.settings import Settings
from pipeline.stages.record import Record
from schemas.codecs.single import decode, encode_incident
from schemas.topics import BY_NAME, INCIDENTS, INPUTS, NOTIFICATIONS, SIGNALS, TRACES
from tests.faults.load import Load
from tests.faults.receiver import FaultyReceiver
from tests.faults.sink import FaultySink
from tests.faults.story import LIMITS, Story
from tests.faults.worker import Worker
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
READS = {"detect": INPUTS, "correlate": (SIGNALS,), "notify": (INCIDENTS,)}


def committed(kafka: Broker, settings: Settings) -> int:
    return sum(max(0, offset) for offset in kafka.committed(settings.group("detect"), TRACES.name))


@pytest.mark.fault("F01", "F27")
def test_killed_between_chunks_and_at_random_it_tells_the_same_incidents_and_pages(
    kafka: Broker, settings: Settings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"limits_file": LIMITS})
    told = Story(settings)
    Worker(settings, tuple(READS), tmp_path / "first", fail_at="snapshot.manifest").wait_until_it_fails()

    second = Worker(settings, tuple(READS), tmp_path / "second")
    try:
        second.wait_until(lambda: committed(kafka, settings) > 0)
        time.sleep(random.uniform(0, 0.8))  # any moment will do: nothing is waited for
    finally:
        second.kill()

    offsets = Offsets(KafkaConnection(servers=kafka.bootstrap))

    def behind() -> dict[str, object]:
        """What is not confirmed, by stage: what is committed and what there is."""
        found = {stage: (offsets.committed(settings.group(stage), of), offsets.ends(of)) for stage, of in READS.items()}
        return {stage: pair for stage, pair in found.items() if pair[0] != pair[1]}

    third = Worker(settings, tuple(READS), tmp_path / "third")
    try:
        third.wait_until(lambda: not behind())
    except AssertionError as error:
        raise AssertionError(f"{behind()}") from error
    finally:
        third.kill()
        offsets.close()
    assert re.findall(r"detect/agent\.traces\.v1/\d goes on from its snapshot at offset [1-9]", third.log.read_text())
    told.check_incidents(kafka.values(INCIDENTS.name))
    told.check_pages(kafka.values(NOTIFICATIONS.name))


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("archive.effects@2", marks=pytest.mark.fault("F02")),
        pytest.param("archive.acknowledged@2", marks=pytest.mark.fault("F03")),
    ],
)
def test_killed_before_an_offset_is_acknowledged_or_committed_it_writes_the_same_rows_again(
    kafka: Broker, at_sink: Settings, faulty: FaultySink, load: Load, tmp_path: Path, point: str
) -> None:
    load.produce(40)
    Worker(at_sink, ["archive"], tmp_path / "first", fail_at=point).wait_until_it_fails()
    written = faulty.rows()
    assert written, "it was killed before it wrote anything"
    load.produce(40)
    second = Worker(at_sink, ["archive"], tmp_path / "second")
    try:
        second.wait_until(lambda: load.is_committed(at_sink.group("archive")))
    finally:
        second.kill()
    assert load.missing(faulty.rows()) == set()
    assert set(faulty.rows().values()) == {1}
    assert set(faulty.rows()) == load.produced
    again = sum(faulty.rows(final=False).values()) - len(load.produced)
    assert 0 <= again <= sum(written.values())  # no more than what was written and not committed


@pytest.mark.fault("F02", "F03")
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "points",  # in the order of the flow: what a later stage reads is there when it is its turn
    [
        ("detect.effects", "correlate.acknowledged", "notify.effects", "record.acknowledged"),
        pytest.param(
            ("detect.acknowledged", "correlate.effects", "notify.acknowledged", "record.effects"),
            marks=pytest.mark.soak,
        ),
    ],
)
def test_killed_once_at_a_boundary_of_every_stage_it_stores_and_tells_the_same(
    kafka: Broker, at_sink: Settings, faulty: FaultySink, tmp_path: Path, points: tuple[str, ...]
) -> None:
    settings = at_sink.model_copy(update={"limits_file": LIMITS})
    told = Story(settings)
    stages = (*READS, "record")
    for point in points:
        Worker(settings, stages, tmp_path / point, fail_at=point).wait_until_it_fails()
    reads = READS | {"record": tuple(BY_NAME[topic] for topic in Record.topics)}
    offsets = Offsets(KafkaConnection(servers=kafka.bootstrap))
    last = Worker(settings, stages, tmp_path / "last")
    try:
        last.wait_until(
            lambda: all(offsets.committed(settings.group(stage), of) == offsets.ends(of) for stage, of in reads.items())
        )
    finally:
        last.kill()
        offsets.close()
    told.check_incidents(kafka.values(INCIDENTS.name))
    told.check_pages(kafka.values(NOTIFICATIONS.name))
    expected = {incident.incident_id for incident in told.without_fault.outcomes.incidents}
    rows = faulty.client.query("SELECT incident_id FROM incidents FINAL")
    assert sorted(row["incident_id"] for row in rows) == sorted(expected)


@pytest.mark.fault("F04")
def test_told_to_stop_while_an_insert_is_under_way_it_finishes_and_ends_with_0(
    kafka: Broker, at_sink: Settings, faulty: FaultySink, load: Load, tmp_path: Path
) -> None:
    faulty.plan = lambda _: "slow 1.0"
    load.produce(40)
    worker = Worker(at_sink, ["archive"], tmp_path / "log")
    worker.wait_until(lambda: faulty.inserts)
    worker.terminate()
    assert worker.exit_code(at_sink.stop_seconds) == 0, worker.tail()
    rows = faulty.rows()
    assert set(rows) <= load.produced
    assert sum(max(0, offset) for offset in kafka.committed(at_sink.group("archive"), TRACES.name)) == len(rows) > 0


@pytest.mark.fault("F05")
def test_told_to_stop_while_the_sink_is_dead_it_gives_up_in_time_with_75_and_nothing_is_lost(
    kafka: Broker, at_sink: Settings, faulty: FaultySink, load: Load, tmp_path: Path
) -> None:
    settings = at_sink.model_copy(update={"stop_seconds": 3.0})
    load.produce(40)
    faulty.close_port()
    worker = Worker(settings, ["archive"], tmp_path / "first")
    worker.wait_until(lambda: "archive waits for its sink" in worker.log.read_text())
    worker.terminate()
    told = time.monotonic()
    assert worker.exit_code() == 75, worker.tail()
    assert time.monotonic() - told < 3.0 + 5.0  # and what the machine takes to end a process
    assert not any(offset > 0 for offset in kafka.committed(settings.group("archive"), TRACES.name))
    faulty.open_port()
    second = Worker(settings, ["archive"], tmp_path / "second")
    try:
        second.wait_until(lambda: load.is_committed(settings.group("archive")))
    finally:
        second.kill()
    assert set(faulty.rows()) == load.produced


@pytest.fixture
def receiver() -> Iterator[FaultyReceiver]:
    with FaultyReceiver() as made:
        yield made


@pytest.mark.fault("F37")
@pytest.mark.parametrize(("point", "times"), [("notify.pending", 1), ("notify.sent", 2)])
def test_killed_before_or_after_a_page_left_it_sends_it_with_the_same_dedup_key(
    kafka: Broker, settings: Settings, receiver: FaultyReceiver, tmp_path: Path, point: str, times: int
) -> None:
    incident = sample_incident({"incident_id": "a", "kind": "feedback_loop", "tenant": "acme", "severity": "critical"})
    kafka.produce(INCIDENTS.name, [encode_incident(incident)])
    settings = receiver.told(settings, tmp_path)
    Worker(settings, ["notify"], tmp_path / "first", fail_at=point).wait_until_it_fails()
    assert len(receiver.pages) == times - 1
    second = Worker(settings, ["notify"], tmp_path / "second")
    try:
        second.wait_until(lambda: kafka.committed(settings.group("notify"), INCIDENTS.name)[0] == 1)
    finally:
        second.kill()
    assert [page.incident for page in receiver.pages] == ["a"] * times
    assert len({page.dedup_key for page in receiver.pages}) == 1
    states = [decode(value)[1]["state"] for value in kafka.values(NOTIFICATIONS.name)]
    assert states == ["pending", "pending", "sent"]
