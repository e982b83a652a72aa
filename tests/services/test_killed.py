"""A worker that is killed at any moment, also between the chunks of a snapshot, and started again."""

import json
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from pipeline.backtest import Backtest
from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.limits import load_limits
from pipeline.operators.state import version
from pipeline.player import Player
from pipeline.settings import Settings
from pipeline.snapshots import Shelf, partition_of_task, task_name
from pipeline.stages.read_back import read_partitions
from schemas.codecs.single import decode_incident
from schemas.incidents import Incident
from schemas.topics import INCIDENTS, INPUTS, SIGNALS, SNAPSHOTS
from tests.faults.worker import Worker
from tests.services.reading import values

LIMITS = Path("pipeline/demo/limits.yml")
STAGES = ("detect", "correlate")


def bare(incident: Incident) -> str:
    fields = incident.model_dump(mode="json")
    for item in fields["evidence"]:
        item.pop("partition"), item.pop("offset")
    return json.dumps(fields, sort_keys=True)


def newest(kafka: str) -> dict[str, str]:
    """The newest revision of each incident in incidents.v1."""
    found: dict[str, Incident] = {}
    for value in values(kafka, INCIDENTS):
        incident = decode_incident(value)
        if incident.incident_id not in found or incident.revision >= found[incident.incident_id].revision:
            found[incident.incident_id] = incident
    return {name: bare(incident) for name, incident in found.items()}


def is_read(settings: Settings) -> bool:
    """Whether detect and correlate have committed everything there is."""
    for stage, topics in (("detect", INPUTS), ("correlate", (SIGNALS,))):
        consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": settings.group(stage), "log_level": 0})
        places = [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]
        committed = {(place.topic, place.partition): place.offset for place in consumer.committed(places, timeout=20)}
        ends = {(p.topic, p.partition): consumer.get_watermark_offsets(p, timeout=20)[1] for p in places}
        consumer.close()
        if any(committed[place] < end for place, end in ends.items()):
            return False
    return True


@pytest.mark.timeout(420)
def test_killed_again_and_again_it_finds_what_a_worker_finds_that_never_was(
    recorded_settings: Settings, tmp_path: Path
) -> None:
    settings = recorded_settings.model_copy(
        update={"limits_file": LIMITS, "instance": "one", "snapshot_seconds": 0.3, "session_timeout_seconds": 6}
    )
    with recording_of(story()) as recording:
        backtest = Backtest(load_limits(LIMITS))
        for chunk in recording.chunks():
            backtest.read(chunk)
        backtest.finish()
        Player(settings.kafka_connection, pane=settings.pane, lateness=settings.lateness, readers=()).play(
            recording.messages()
        )
    for number, fail_at in enumerate(("snapshot.chunk.0", "snapshot.manifest", "snapshot.chunk.0")):
        Worker(settings, STAGES, tmp_path / f"killed-{number}", fail_at=fail_at).wait_until_it_fails()
    running = Worker(settings, STAGES, tmp_path / "running")
    try:
        running.wait_until(lambda: is_read(settings), seconds=200)
    finally:
        running.kill()
    assert newest(settings.kafka) == {incident.incident_id: bare(incident) for incident in backtest.outcomes.incidents}
    task = task_name("detect", INPUTS[0].name, 0)
    number = partition_of_task(task)
    shelf = Shelf(frozenset((task,)))
    read_partitions(settings.kafka_connection, SNAPSHOTS, {number}, shelf.put)
    assert shelf.take(task, version()).snapshot is not None
