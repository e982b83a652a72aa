"""Two runs of the whole pipeline that many tests look at: one under attack, one whose every text holds a secret."""

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.embedded import Database
from pipeline.player import Message, partition_for
from schemas.codecs.single import encode_event
from schemas.events import CLOSED_SETS, EVENTS, RECORD_TOPICS
from schemas.registry import newest
from schemas.topics import BY_NAME, TRACES
from tests.abuse import payloads
from tests.abuse.running import Ran, run
from tests.builders import T0, event, metric, span
from tests.stages.kafka import Broker

LIMITS = Path("pipeline/demo/limits.yml")
LOOP = 24  # equal calls: a loop that pages
STOLEN = "stolen.v1"
REPLY_HEADERS = [("Faust-Ag-ReplyTo", STOLEN.encode()), ("Faust-Ag-CorrelationId", b"1")]
HOSTILE_STAMP = T0 // 1000
END = metric(420, 1.0, resource="c/n/pod/last")


def message(row: Mapping[str, Any], stamp: int | None = None) -> Message:
    """An event as the player takes it."""
    found = EVENTS[row["type"]].model_validate({name: value for name, value in row.items() if name != "type"})
    return (RECORD_TOPICS[row["type"]], found.key.encode(), encode_event(found), stamp or found.event_time)


def victim_loop() -> list[dict[str, Any]]:
    """What must be found whatever happens beside it."""
    return [
        span(
            second / 2 + 60,
            span_id=f"victim-{second}",
            session_id="victim",
            agent_id="victim-agent",
            tool_name="write_hook",
            tool_args='{"hook": "wp_head"}',
            access="write",
            target="site-12/wordpress/hook/wp_head",
            input_tokens=1000,
        )
        for second in range(LOOP * 2)
    ]


VICTIM_KEYS = {
    "agent_span": "acme/victim",
    "metric_point": "acme/prod/shop/deployment/cart",
    "cluster_event": "acme/c/n",
}


def neighbour(record: str, number: int) -> dict[str, Any]:
    """A good event in the same partition, and the same batch, as hostile ones."""
    name = f"neighbour-{number}"
    if record == "agent_span":
        return span(number / 1000, span_id=name, session_id=name)
    if record == "metric_point":
        return metric(number / 1000, 1.0, unit=name)
    return event(number / 1000, name, "deploy", "c/n/deployment/x")


def names_of(record: str) -> list[str]:
    """The columns that hold any text."""
    return [
        field.name
        for field in newest(record).fields
        if field.type == "string" and field.name not in CLOSED_SETS[record]
    ]


def hostile_rows() -> list[dict[str, Any]]:
    """Each text in every column of each record at once; the event time says which text it is."""

    def plain(record: str, second: float) -> dict[str, Any]:
        if record == "agent_span":
            return span(second)
        if record == "metric_point":
            return metric(second, 1.0)
        return event(second, "e", "audit", "c/n/deployment/x")

    return [
        {**plain(record, 200 + number), **dict.fromkeys(names_of(record), text)}
        for record in RECORD_TOPICS
        for number, text in enumerate(payloads.texts().values())
    ]


def hostile_loops() -> list[dict[str, Any]]:
    """For each text an agent that loops under that name, so that the text comes to incidents and pages."""
    return [
        span(
            300 + number + call / 4,
            span_id=f"loop-{number}-{call}",
            session_id=f"{number} {text}",
            agent_id=text,
            agent_version=text,
            tool_name=text,
            tool_args=text,
            target=f"c/{number} {text}/x/y",
            access="write",
            summary=text,
            input_tokens=1000,
        )
        for number, text in enumerate(payloads.texts().values())
        for call in range(LOOP)
    ]


def attack(broker: Broker) -> None:
    """Every hostile message, each between two good ones; then a good one with headers on which Faust acts."""
    broker.create_topic(STOLEN, 1)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "message.max.bytes": 10_000_000, "log_level": 0})

    def send(topic: str, value: bytes, headers: Any = None) -> None:
        record = next(name for name, found in RECORD_TOPICS.items() if found == topic)
        key = VICTIM_KEYS[record].encode()
        place = partition_for(key, BY_NAME[topic].partitions)
        producer.produce(topic, value, key, partition=place, timestamp=HOSTILE_STAMP, headers=headers)

    for number, payload in enumerate(payloads.messages()):
        record = next(name for name, found in RECORD_TOPICS.items() if found == payload.topic)
        send(payload.topic, payload.value)
        send(payload.topic, message(neighbour(record, number))[2])
    send(TRACES.name, message(span(1, span_id="with-headers"))[2], REPLY_HEADERS)
    send(TRACES.name, b"no event at all", REPLY_HEADERS)
    assert producer.flush(20) == 0


@pytest.fixture(scope="session")
def attacked(clickhouse: Database) -> Ran:
    """The pipeline under attack, with the victim's loop beside it."""
    rows = [*victim_loop(), *hostile_rows(), *hostile_loops(), END]
    return run(
        clickhouse,
        [message(row) for row in rows],
        before=attack,
        after=lambda broker: broker.records(STOLEN, 0),
    )


@pytest.fixture(scope="session")
def undisturbed(clickhouse: Database) -> Ran:
    """The victim's loop alone, to the same moment."""
    return run(clickhouse, [message(row) for row in (*victim_loop(), END)])


def canary(number: int) -> str:
    return f"c4n4ry{number:04d}x"


def planted() -> Iterator[dict[str, Any]]:
    """The demo's story, each free text with a secret in front; equal texts and one tool get equal secrets: loops stay loops."""
    forms = list(payloads.secrets().values())
    known: dict[str, int] = {}

    def secret(text: str) -> str:
        number = known.setdefault(text, len(known))
        return forms[zlib.crc32(text.encode()) % len(forms)].replace("{}", canary(number))

    for row in story():
        found = dict(row)
        for name in ("summary", "message"):
            if found.get(name):
                found[name] = f"{secret(found[name])} {found[name]}"
        for name in ("tool_args", "labels", "attributes", "expects"):
            if found.get(name) and isinstance(found[name], str) and found[name].startswith("{"):
                content = json.loads(found[name])
                about = str(found.get("tool_name") or found[name])  # a tool has one password, whatever it is asked
                number = known.setdefault(about, len(known))
                found[name] = json.dumps({"password": canary(number), **content})
        if found.get("previous_value"):
            found["previous_value"] = secret(found["previous_value"])
        yield found


@pytest.fixture(scope="session")
def with_secrets(clickhouse: Database) -> Ran:
    """The story with secrets in it, and some messages that cannot be read and hold one too."""
    unreadable = [form.replace("{}", canary(9000 + number)) for number, form in enumerate(payloads.secrets().values())]
    with recording_of(planted()) as recording:
        messages: list[Message] = list(recording.messages())
    first = messages[0][3]
    messages += [(TRACES.name, b"acme/x", b"not an event: " + text.encode(), first) for text in unreadable]
    return run(clickhouse, messages, limits=LIMITS)
