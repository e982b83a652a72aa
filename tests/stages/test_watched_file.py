"""A line in a watched file, to what agents are told before they act: Collector, ingest, detect, correlate, facts.v1."""

import json
import time
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from pipeline.app import Pipeline
from pipeline.clock import now_micros
from pipeline.settings import Settings
from schemas.codecs import TICK
from schemas.codecs.single import decode
from schemas.times import MICROS, format_time
from schemas.topics import DEAD_LETTERS, EVENTS, FACTS, OTLP_LOGS
from tests.conformance.collector_input import WATCHED
from tests.stages.conftest import Sink, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
HOUR = 3600 * MICROS


def shipped(*lines: str) -> bytes:
    """What the Collector makes of these lines: as it was recorded, with other text in it."""
    message = LogsData.FromString(WATCHED.read_bytes())
    records = message.resource_logs[0].scope_logs[0].log_records
    (recorded,) = records
    assert json.loads(recorded.body.string_value)["event_id"] == "mw-311"
    assert recorded.attributes[0].key == "log.file.name"
    for line in lines:
        records.add().CopyFrom(recorded)
        records[-1].body.string_value = line
        records[-1].observed_time_unix_nano = time.time_ns()
    del records[0]
    return message.SerializeToString()


def window(kind: str, event_id: str, now: int, **fields: Any) -> str:
    said = {
        "type": "cluster_event",
        "kind": kind,
        "event_id": event_id,
        "resource": "prod-eu/shop/statefulset/cart-db",
        "event_time": format_time(now),
        "valid_until": format_time(now + HOUR),
        "source": "change-calendar",
    }
    return json.dumps(said | fields)


async def test_windows_and_freezes_of_a_watched_file_are_facts_that_agents_are_told(
    kafka: Broker, settings: Settings, sink: Sink
) -> None:
    live = settings.model_copy(update={"recorded": False, "lateness_seconds": 2, "pane_seconds": 1})
    pipeline = Pipeline(live, ["ingest", "detect", "correlate"], writer=lambda: sink)
    now = now_micros()
    lines = (
        window("maintenance", "mw-1", now),
        "# planned by jane",
        window("freeze", "fr-1", now, resource="prod-eu/shop/namespace/shop", valid_from=format_time(now + HOUR)),
        window("nap", "no-1", now),
    )
    try:
        await pipeline.start()
        await pipeline.ready()
        kafka.produce(OTLP_LOGS.name, [shipped(*lines)])
        await until(lambda: len(kafka.values(FACTS.name)) >= 2)
    finally:
        await pipeline.stop(grace=5)
    events = [decode(value)[1] for value in kafka.values(EVENTS.name) if value != TICK]
    assert [(event["event_id"], event["kind"], event["tenant"]) for event in events] == [
        ("mw-1", "maintenance", "default"), ("fr-1", "freeze", "default"),
    ]  # fmt: skip
    told = {fact["fact_id"]: fact for _, fact in map(decode, kafka.values(FACTS.name))}
    assert told.keys() == {"mw-1", "fr-1"}
    assert (told["mw-1"]["valid_from"], told["mw-1"]["valid_until"]) == (now, now + HOUR)
    assert (told["fr-1"]["valid_from"], told["fr-1"]["source"]) == (now + HOUR, "change-calendar")
    (letter,) = [decode(value)[1] for value in kafka.values(DEAD_LETTERS.name)]
    assert "nap" in letter["detail"]
