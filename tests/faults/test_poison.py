"""A03: a message that kills the process, again and again, becomes a dead letter, and the worker goes on."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.panes import TimeRules
from pipeline.settings import Settings
from pipeline.stages.archive import Archive
from schemas.codecs.single import decode
from schemas.topics import DEAD_LETTERS, TRACES
from tests.faults.load import Load
from tests.faults.worker import Worker
from tests.stages.conftest import Sink, Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded


def with_poison(load: Load) -> tuple[int, int]:
    """Eighty events with a poisonous one among them; its partition and offset."""
    load.produce(40)
    before = set(load.produced)
    load.produce(1, summary="poison-pill")
    ((partition, offset, _),) = load.produced - before
    load.produce(39)
    return partition, offset


def dead_letters(kafka: Broker) -> list[dict[str, Any]]:
    return [decode(value)[1] for value in kafka.values(DEAD_LETTERS.name)]


def test_two_workers_die_over_a_message_and_the_third_goes_on(
    kafka: Broker, settings: Settings, load: Load, tmp_path: Path
) -> None:
    partition, offset = with_poison(load)
    # With a name it comes back to its partitions at once, as one that is restarted does
    settings = settings.model_copy(update={"instance": "worker", "journal_dir": tmp_path / "journal"})
    for number in range(2):
        worker = Worker(settings, ["detect"], tmp_path / f"{number}", fail_at="reading.poison-pill")
        worker.wait_until_it_fails()
    third = Worker(settings, ["detect"], tmp_path / "2", fail_at="reading.poison-pill")
    try:
        third.wait_until(lambda: load.is_committed(settings.group("detect")))
    finally:
        third.kill()
    (letter,) = dead_letters(kafka)
    assert (letter["partition"], letter["offset"]) == (partition, offset)
    assert (letter["stage"], letter["reason"], letter["value"]) == ("detect", "crashes", b"")
    assert "two processes died while they read this message" in letter["detail"]


async def test_archive_reports_what_only_it_dies_over_and_writes_the_neighbours(
    kafka: Broker, settings: Settings, load: Load, sink: Sink, started: Start, tmp_path: Path
) -> None:
    partition, offset = with_poison(load)
    ((_, stamp),) = kafka.records(TRACES.name, partition)[offset : offset + 1]
    settings = settings.model_copy(update={"journal_dir": tmp_path})
    noted = {"open": [offset, offset + 1], "records": 1, "stamp": stamp // 1000, "suspect": [0, 80], "deaths": 1}
    folder = tmp_path / settings.group("archive")  # as the second worker that died left it
    folder.mkdir()
    (folder / f"{TRACES.name}-{partition}.json").write_text(json.dumps(noted))
    archive = Archive(settings, lambda _: None, writer=sink, rules=TimeRules())
    await started(archive)
    await until(lambda: load.is_confirmed(archive))
    assert archive.error is None
    places = [(row["partition"], row["offset"], row["span_id"]) for row in sink.rows["agent_traces"]]
    assert sorted(places) == sorted(place for place in load.produced if place[:2] != (partition, offset))
    (letter,) = await asyncio.to_thread(dead_letters, kafka)
    assert (letter["stage"], letter["reason"], letter["offset"]) == ("archive", "crashes", offset)
