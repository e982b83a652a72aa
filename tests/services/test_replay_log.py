"""Reading the log back on a real broker: from a moment on, merged by append time, without joining or committing."""

import json

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.log_stretches import log_stretches
from pipeline.settings import Settings
from tests.builders import at, event, span

pytestmark = [pytest.mark.services]
TRACES, EVENTS = "agent.traces.v1", "cluster.events.v1"


def test_a_stretch_holds_what_was_appended_in_it_in_the_order_of_append_time(recorded_settings: Settings) -> None:
    connection = recorded_settings.kafka_connection
    producer = Producer(connection.librdkafka() | {"log_level": 0})
    for minute in range(40):  # minute by minute, in two of the partitions, a batch each
        row = span(60 * minute, span_id=f"s{minute}")
        stamp = at(60 * minute) // 1000
        producer.produce(TRACES, json.dumps(row).encode(), partition=minute % 2, timestamp=stamp)
        producer.flush(10)
    old = at(60 * 14) // 1000  # it comes after minute 39, which is its time then
    producer.produce(TRACES, b"{broken", partition=1, timestamp=old)
    producer.produce(
        EVENTS,
        json.dumps(event(60 * 20, "e", "flag", "a/b/flag/f")).encode(),
        partition=3,
        timestamp=at(60 * 20) // 1000,
    )
    assert producer.flush(10) == 0

    chunks = list(log_stretches(connection, at(60 * 15), at(60 * 40)))
    assert [[part.topic for part in chunk] for chunk in chunks] == [[TRACES, EVENTS], [TRACES], [TRACES]]
    read = [chunk[0].frame["span_id"].to_list() for chunk in chunks]
    assert read == [
        [f"s{n}" for n in range(15, 25)],
        [f"s{n}" for n in range(25, 35)],
        [f"s{n}" for n in range(35, 40)],
    ]
    assert [len(chunk[0].rejected) for chunk in chunks] == [0, 0, 1]
    assert list(log_stretches(connection, at(60 * 100), at(60 * 200))) == []

    consumer = Consumer(connection.librdkafka() | {"group.id": "aftermath.replay", "log_level": 0})
    committed = consumer.committed([TopicPartition(TRACES, number) for number in range(2)], timeout=10)
    consumer.close()
    assert [place.offset for place in committed] == [-1001, -1001]
