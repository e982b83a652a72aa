"""The load of bench/spans.py on its way into Kafka, or in memory as Kafka would hand it over.

    python -m bench.kafka_load --kafka 127.0.0.1:9092 --events 2000000

Stamps and ticks are those of pipeline.player: the append time of each span is its record's time, and each partition of
all input topics gets a tick at the start of every pane and one at the end that closes the last. Unlike the player it
does not wait for readers: it is for a broker that keeps what it was given, and fills it before anybody reads.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Producer

from bench.spans import Load, Spans
from pipeline.core.panes import TimeRules
from pipeline.player import partition_for
from schemas.codecs import TICK, Batch
from schemas.errors import DependencyError
from schemas.topics import INPUTS, MAX_MESSAGE_BYTES, TRACES

BATCH = 2_900  # messages of a record batch: what fits into one message.max.bytes
Record = tuple[int, bytes | None, bytes, int]  # partition of agent.traces.v1, key, value, stamp


def records(spans: Spans, rules: TimeRules) -> Iterator[Record]:
    """Every record of agent.traces.v1 in the order it is appended, ticks included."""
    told = stamp = -1
    for key, value, stamp in spans:
        pane = rules.pane_of(stamp)
        if pane > told:
            told = pane
            yield from ((partition, None, TICK, pane) for partition in range(TRACES.partitions))
        yield partition_for(key, TRACES.partitions), key, value, stamp
    end = stamp + rules.lateness + rules.pane
    yield from ((partition, None, TICK, end) for partition in range(TRACES.partitions))


def batches(spans: Spans, rules: TimeRules, size: int = BATCH) -> Iterator[Batch]:
    """The same as fetched batches, made while they are asked for."""
    offsets = [0] * TRACES.partitions
    waiting: list[list[Record]] = [[] for _ in offsets]
    for record in records(spans, rules):
        mine = waiting[record[0]]
        mine.append(record)
        if len(mine) >= size:
            yield _batch(mine, offsets)
            mine.clear()
    for mine in waiting:
        if mine:
            yield _batch(mine, offsets)


def _batch(part: list[Record], offsets: list[int]) -> Batch:
    partition, first = part[0][0], offsets[part[0][0]]
    offsets[partition] = first + len(part)
    return Batch(
        topic=TRACES.name,
        partition=partition,
        offsets=list(range(first, first + len(part))),
        ingest_times=[record[3] for record in part],
        keys=[record[1] for record in part],
        values=[record[2] for record in part],
    )


def publish(load: Load, kafka: str, rules: TimeRules, topic: str = TRACES.name) -> Spans:
    """Fill the input topics, or one topic like agent.traces.v1, which must exist and be empty.

    Raises DependencyError where the broker refuses a message.
    """
    errors: list[str] = []
    sent: Counter[int] = Counter()

    def refused(error: Any, message: Any) -> None:
        errors.append(f"{message.topic()}: {error.str()}")

    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 1_000,
            "batch.size": MAX_MESSAGE_BYTES,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.messages": 100_000,
            "delivery.report.only.error": True,
            "log_level": 0,
        }
    )

    def produce(topic: str, partition: int, key: bytes | None, value: bytes, stamp: int) -> None:
        while True:
            try:
                producer.produce(topic, value, key, partition, on_delivery=refused, timestamp=stamp // 1000)
                return
            except BufferError:
                producer.poll(0.05)

    spans = Spans(load)
    others = [(other.name, number) for other in INPUTS if other != TRACES for number in range(other.partitions)]
    for partition, key, value, stamp in records(spans, rules):
        produce(topic, partition, key, value, stamp)
        sent[partition] += 1
        if key is None and partition == 0 and topic == TRACES.name:
            for other, number in others:
                produce(other, number, None, value, stamp)
        if sent[partition] % 1_000 == 0:
            producer.poll(0)
        if errors:
            break
    left = producer.flush(60)
    if errors or left:
        raise DependencyError(f"Kafka did not take the load ({errors[0] if errors else f'{left} left'}); see its log.")
    return spans


def main() -> None:
    """Publish and say how long it took."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kafka", required=True)
    arguments.add_argument("--events", type=int, default=200_000)
    arguments.add_argument("--concurrent", type=int, default=2_000)
    arguments.add_argument("--seed", type=int, default=7)
    args = arguments.parse_args()
    began = time.perf_counter()
    spans = publish(Load(args.events, args.concurrent, args.seed), args.kafka, TimeRules())
    took, truth = time.perf_counter() - began, spans.truth
    print(
        f"{truth.spans:,} spans of {truth.bytes / truth.spans:.0f} bytes in {took:.1f} s ({truth.spans / took:,.0f}/s),"
        f" {truth.sessions:,} sessions, {len(truth.loops)} loops, {spans.load.seconds:.0f} s of event time"
    )


if __name__ == "__main__":
    main()
