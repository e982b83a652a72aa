"""The real Collector in front of the real Kafka: what it writes, in every way it can, comes out as the same events.

`make collector` builds it and runs this; `UPDATE_GOLDEN=1 make collector` records what it wrote, which
tests/conformance/test_collector_messages.py reads in every run of the tests.
"""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.limits import Limits
from pipeline.player import partition_for
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.ingest import Ingest
from schemas.codecs.single import decode
from schemas.errors import Outcome
from schemas.events import RECORD_TOPICS
from schemas.topics import DEAD_LETTERS, EVENTS, METRICS, OTLP, OTLP_SPANS, TRACES
from tests.conformance import collector_input
from tests.conformance.collector_input import DEPLOYED, KEY_HEADER, WAY_HEADER, WAYS, Message, sent
from tests.services.collector_build import NoCollectorError, collector, post, running
from tests.services.kafka_server import RealKafka, free_ports, fresh_topics
from tests.services.reading import messages

pytestmark = [pytest.mark.collector, pytest.mark.services, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[2]
SIGNALS = ("traces", "metrics", "logs")  # in the order of OTLP
WAIT_SECONDS = 60.0

WINDOW = json.dumps(
    {
        "type": "cluster_event",
        "event_time": "2026-03-02T14:00:00Z",
        "event_id": "mw-311",
        "kind": "maintenance",
        "resource": "prod-eu/shop/statefulset/cart-db",
        "valid_until": "2026-03-02T16:00:00Z",
        "source": "change-calendar",
    }
)


@pytest.fixture(scope="module")
def program() -> Path:
    try:
        return collector()
    except NoCollectorError as error:
        pytest.skip(str(error))


@pytest.fixture
def settings(real_kafka: RealKafka) -> Settings:
    made = Settings(kafka=real_kafka.bootstrap, group_prefix="test-collector", commit_interval_seconds=0.1)
    fresh_topics(made)
    return made


@pytest.fixture
def ports() -> tuple[int, int]:
    grpc, http = free_ports(2)
    return grpc, http


def addresses(kafka: RealKafka, ports: tuple[int, int]) -> dict[str, Any]:
    """What has to differ from deploy/otel-collector.yaml on this machine, and nothing else."""
    grpc, http = (f"127.0.0.1:{port}" for port in ports)
    return {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": http}}}},
        "exporters": {"kafka": {"brokers": [kafka.bootstrap]}},
        "service": {"telemetry": {"metrics": {"level": "none"}}},
    }


def exporter(way: str, kafka: RealKafka) -> dict[str, Any]:
    """One of WAYS as settings of the exporter; its messages say in a header which it was."""
    said = dict(WAYS[way])
    signal = {"encoding": said.pop("encoding", "otlp_proto")}
    if key := said.pop("message_key_from_metadata_key", None):
        signal["message_key_from_metadata_key"] = key
    made = {"brokers": [kafka.bootstrap], "record_headers": [{"name": WAY_HEADER, "value": way}]}
    made |= {name: dict(signal) for name in SIGNALS}
    if compression := said.pop("compression", None):
        made["producer"] = {"compression": compression}
    return made | said


def written(path: Path, configuration: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(configuration))
    return f"file:{path}"


def found(kafka: RealKafka) -> list[tuple[Message, int]]:
    """What stands in the three topics of OpenTelemetry, with the partitions."""
    all_of_it = []
    for topic in OTLP:
        for message in messages(kafka.bootstrap, topic):
            headers = dict(message.headers() or ())
            way = headers.get(WAY_HEADER, DEPLOYED.encode()).decode()
            all_of_it.append((Message(way, topic.name, message.key(), message.value()), message.partition()))
    return all_of_it


async def through_ingest(settings: Settings, number: int) -> Ingest:
    """The stage has read and confirmed as many messages, and is stopped."""
    errors: list[StageError] = []
    stage = Ingest(settings, errors.append, limits=Limits())
    await stage.start()
    try:
        end = asyncio.get_running_loop().time() + WAIT_SECONDS
        while stage.progress.messages < number or stage.progress.confirmed < stage.progress.elements:
            assert not errors, errors
            assert asyncio.get_running_loop().time() < end, f"{stage.progress} of {number} messages"
            await asyncio.sleep(0.05)
    finally:
        assert await stage.stop()
    assert not errors
    return stage


def wait_for_a_log(kafka: RealKafka) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not found(kafka):
        assert time.monotonic() < end, "no log record of the watched file"


def out_of(kafka: RealKafka) -> list[collector_input.Event]:
    """The events in our three topics."""
    events = [
        decode(value.value()) for topic in (TRACES, METRICS, EVENTS) for value in messages(kafka.bootstrap, topic)
    ]
    return sorted((collector_input.plain(record, row) for record, row in events), key=str)


def send(port: int) -> None:
    for topic, signal in zip(OTLP, SIGNALS, strict=True):
        post(port, signal, sent()[topic.name], "application/x-protobuf", {KEY_HEADER: "run_1"})


@pytest.fixture(scope="module")
def recorded() -> Iterator[list[Message]]:
    """Collects what all tests saw; written at the end where it was asked for."""
    seen: list[Message] = []
    yield seen
    if os.environ.get("UPDATE_GOLDEN"):
        assert {message.way for message in seen} == {*WAYS, DEPLOYED}
        collector_input.write_record(seen)


async def test_the_configuration_in_deploy_brings_everything_to_our_topics(
    real_kafka: RealKafka,
    settings: Settings,
    program: Path,
    ports: tuple[int, int],
    tmp_path: Path,
    recorded: list[Message],
) -> None:
    own = written(tmp_path / "addresses.yml", addresses(real_kafka, ports))
    with running(program, [f"file:{ROOT / DEPLOYED}", own], ports[1], tmp_path / "collector.log"):
        send(ports[1])
    seen = found(real_kafka)
    recorded += [message for message, _ in seen]
    for message, partition in seen:  # keyed, and hashed as we hash: what belongs together stays together
        assert message.key is not None
        assert partition == partition_for(message.key, OTLP_SPANS.partitions)
    stage = await through_ingest(settings, len(seen))
    assert out_of(real_kafka) == collector_input.expected()
    assert sum(counts[Outcome.REJECTED] for counts in stage.counters.values()) == 0
    assert list(messages(real_kafka.bootstrap, DEAD_LETTERS)) == []


async def test_every_partitioning_encoding_and_compression_gives_the_same_events(
    real_kafka: RealKafka,
    settings: Settings,
    program: Path,
    ports: tuple[int, int],
    tmp_path: Path,
    recorded: list[Message],
) -> None:
    own = addresses(real_kafka, ports)
    own["receivers"]["otlp"]["protocols"]["http"]["include_metadata"] = True
    own["processors"] = {"batch": {"metadata_keys": [KEY_HEADER]}}
    own["exporters"] |= {f"kafka/{way}": exporter(way, real_kafka) for way in WAYS}
    ways = [f"kafka/{way}" for way in WAYS]
    own["service"]["pipelines"] = {signal: {"exporters": ways} for signal in SIGNALS}
    configurations = [f"file:{ROOT / DEPLOYED}", written(tmp_path / "ways.yml", own)]
    with running(program, configurations, ports[1], tmp_path / "collector.log"):
        send(ports[1])
    seen = found(real_kafka)
    recorded += [message for message, _ in seen]
    for way in WAYS:
        mine = [(message.topic, message.value) for message, _ in seen if message.way == way]
        assert collector_input.rows(mine) == collector_input.expected(), way
    stage = await through_ingest(settings, len(seen))
    once = collector_input.expected()
    out = out_of(real_kafka)
    # A difference needs the point before, and a point that comes again is none: see below for metrics.
    kept = [event for event in once if RECORD_TOPICS[event[0]] != METRICS.name]
    assert [event for event in out if RECORD_TOPICS[event[0]] != METRICS.name] == sorted(kept * len(WAYS), key=str)
    assert {json.dumps(event) for event in out} == {json.dumps(event) for event in once}
    assert sum(counts[Outcome.REJECTED] for counts in stage.counters.values()) == 0


def test_a_file_that_is_watched_brings_maintenance_windows(
    real_kafka: RealKafka, settings: Settings, program: Path, ports: tuple[int, int], tmp_path: Path
) -> None:
    watched = tmp_path / "windows.jsonl"
    watched.touch()
    example = yaml.safe_load((ROOT / "deploy" / "otel-collector-files.yaml").read_text())
    example["receivers"]["file_log/facts"]["include"] = [str(watched)]
    own = addresses(real_kafka, ports)
    configurations = [
        f"file:{ROOT / DEPLOYED}",
        written(tmp_path / "files.yml", example),
        written(tmp_path / "addresses.yml", own),
    ]
    with running(program, configurations, ports[1], tmp_path / "collector.log"):
        with watched.open("a") as file:
            file.write(WINDOW + "\n")
        wait_for_a_log(real_kafka)
    (message,) = [message for message, _ in found(real_kafka)]
    if os.environ.get("UPDATE_GOLDEN"):
        collector_input.WATCHED.write_bytes(message.value)
    ((record, row),) = collector_input.rows([(message.topic, message.value)])
    assert (record, row["kind"], row["event_id"]) == ("cluster_event", "maintenance", "mw-311")
    assert row["resource"] == "prod-eu/shop/statefulset/cart-db"
