"""Two versions of Aftermath in one group, as in a rolling upgrade: what the other has written is read, or refused by name
and kept.

What an older version wrote is recorded: a snapshot (`recorded/`), and a message of each version of each schema
(`unit/schemas/recorded_messages.json`). What a newer one will write is a schema with one more field.
"""

import base64
import json
import logging
from pathlib import Path

import pytest
from confluent_kafka import Producer

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.operators.state import version
from pipeline.settings import Settings
from pipeline.snapshots import partition_of_task, task_name
from pipeline.stages.base import StageError
from pipeline.stages.correlate import SOURCES, Correlate
from schemas import registry
from schemas.codecs import TICK, single
from schemas.codecs.single import encode_record
from schemas.errors import Outcome
from schemas.signals import Marker
from schemas.topics import DEAD_LETTERS, SIGNALS, SNAPSHOTS, TRACES
from tests.builders import T0, at, span
from tests.faults.broker import FaultyBroker
from tests.faults.load import event_of
from tests.stages.conftest import Start, until
from tests.stages.detecting import Detecting

pytestmark = pytest.mark.embedded
RECORDED = Path(__file__).parent / "recorded/snapshot_format_11.json"


def of_a_newer_version(record: str, folder: Path) -> Path:
    """A folder with the schema of this record as the version after the newest will have it."""
    newest = registry.newest(record)
    more = {"name": "region", "type": ["null", "string"], "default": None, "doc": "where it ran"}
    text = newest.text | {"fields": [*newest.text["fields"], more]}
    (folder / f"{record}.v{newest.version + 1}.avsc").write_text(json.dumps(text))
    return folder


@pytest.mark.fault("F46")
async def test_a_snapshot_of_the_version_before_is_left_aside_by_name_and_the_log_is_read_again(
    kafka: FaultyBroker, settings: Settings, started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    task = task_name("detect", TRACES.name, 0)
    recorded = json.loads(RECORDED.read_text())
    assert recorded["version"] != version()
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for key, value in recorded["records"].items():
        producer.produce(SNAPSHOTS.name, base64.b64decode(value), key.encode(), partition=partition_of_task(task))
    assert producer.flush(10) == 0
    for number in range(3):
        kafka.produce(TRACES.name, [event_of(100 * number)], stamp=at(5 * number) // 1000)
    stage = Detecting(settings)
    with caplog.at_level(logging.WARNING):
        await started(stage)
        await until(lambda: kafka.committed(settings.group("detect"), TRACES.name)[0] == 3)
    assert stage.began[0] == 0
    assert not stage.errors
    assert f"is left aside: written by version {recorded['version']}, this is {version()}" in caplog.text
    assert f"{task} has no snapshot it can use and reads its log again from offset 0" in caplog.text


@pytest.mark.fault("F46")
async def test_what_a_newer_detect_writes_ends_an_older_correlate_which_names_it_and_acknowledges_nothing_of_it(
    kafka: FaultyBroker, settings: Settings, started: Start, tmp_path: Path
) -> None:
    known = [encode_record(Marker(source=source, pane=T0, run="a", rows=0)) for source in SOURCES]
    folder = of_a_newer_version("marker", tmp_path)
    fields = {"source": SOURCES[0], "pane": T0 + TimeRules().pane, "run": "b", "rows": 0, "region": "eu"}
    newer = single.encode("marker", fields, folder)
    kafka.produce(SIGNALS.name, known, stamp=T0 // 1000)
    errors: list[StageError] = []
    stage = Correlate(settings, errors.append, limits=Limits(), rules=TimeRules(), now=lambda: T0)
    await started(stage)
    await until(lambda: kafka.committed(settings.group("correlate"), SIGNALS.name)[0] == len(known))
    kafka.produce(SIGNALS.name, [newer], stamp=T0 // 1000)
    await until(lambda: errors)
    await stage.stop(grace=1)
    assert f"schema {newer[2:10].hex()} is not one of schemas/avro" in str(errors[0])
    assert "or upgrade" in str(errors[0])
    assert kafka.committed(settings.group("correlate"), SIGNALS.name)[0] == len(known)
    assert single.decode(newer, folder)[1] == fields  # as a newer correlate reads it, for which the partition waits


@pytest.mark.fault("F46")
async def test_an_event_of_a_newer_schema_is_a_dead_letter_that_can_be_sent_again_and_costs_no_neighbour(
    kafka: FaultyBroker, settings: Settings, started: Start, tmp_path: Path
) -> None:
    folder = of_a_newer_version("agent_span", tmp_path)
    row = {name: value for name, value in span(1).items() if name != "type"} | {"region": "eu"}
    newer = single.encode("agent_span", row, folder)
    kafka.produce(TRACES.name, [event_of(0), newer, event_of(2), TICK], stamp=at(5) // 1000)
    stage = Detecting(settings)
    await started(stage)
    await until(lambda: kafka.committed(settings.group("detect"), TRACES.name)[0] == 4)
    assert not stage.errors
    (letter,) = [single.decode(value)[1] for value in kafka.values(DEAD_LETTERS.name)]
    assert (letter["reason"], letter["value"]) == ("unknown_fingerprint", newer)
    counts = stage.counters[TRACES.name]
    assert (counts[Outcome.ACCEPTED], counts[Outcome.REJECTED]) == (2, 1)
