"""A worker that is killed at any moment, also between the chunks of a snapshot, and started again."""

import json
import os
import subprocess
import sys
import time
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
from tests.services.reading import values

LIMITS = Path("pipeline/demo/limits.yml")
RUN = "from pipeline.cli import main; raise SystemExit(main(['run', '--recorded', '--stage', 'detect', '--stage', 'correlate']))"


def worker(settings: Settings, fail_at: str = "") -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "AFTERMATH_KAFKA": settings.kafka,
        "AFTERMATH_GROUP_PREFIX": settings.group_prefix,
        "AFTERMATH_COMMIT_INTERVAL_SECONDS": "0.1",
        "AFTERMATH_SNAPSHOT_SECONDS": "0.3",
        "AFTERMATH_SESSION_TIMEOUT_SECONDS": "6",
        "AFTERMATH_LIMITS_FILE": str(LIMITS),
        "AFTERMATH_INSTANCE": "one",
        "AFTERMATH_FAIL_AT": fail_at,
    }
    return subprocess.Popen([sys.executable, "-c", RUN], env=environment)


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
def test_killed_again_and_again_it_finds_what_a_worker_finds_that_never_was(recorded_settings: Settings) -> None:
    settings = recorded_settings
    with recording_of(story()) as recording:
        backtest = Backtest(load_limits(LIMITS))
        for chunk in recording.chunks():
            backtest.read(chunk)
        backtest.finish()
        Player(settings.kafka_connection, pane=settings.pane, lateness=settings.lateness, readers=()).play(
            recording.messages()
        )
    for fail_at in ("snapshot.chunk.0", "snapshot.manifest", "snapshot.chunk.0"):
        killed = worker(settings, fail_at)
        assert killed.wait(timeout=120) == 137
    running = worker(settings)
    try:
        end = time.monotonic() + 200
        while not is_read(settings):
            assert running.poll() is None
            assert time.monotonic() < end, "it does not get to the end"
            time.sleep(0.2)
    finally:
        running.kill()
        running.wait()
    assert newest(settings.kafka) == {incident.incident_id: bare(incident) for incident in backtest.outcomes.incidents}
    task = task_name("detect", INPUTS[0].name, 0)
    number = partition_of_task(task)
    shelf = Shelf(frozenset((task,)))
    read_partitions(settings.kafka_connection, SNAPSHOTS, {number}, shelf.put)
    assert shelf.take(task, version()).snapshot is not None
