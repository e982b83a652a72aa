"""How long a snapshot of many live sessions takes to write and to go on from, and how large it is.

    python -m bench.recovery [--sessions 100000] [--spans 4] [--no-kafka]

Operators of all partitions of agent.traces.v1 read a load with so many sessions at a time; the state of each is encoded
and cut into messages, then found again among them and loaded into a fresh operator. With a real Kafka the messages are
written to it and a stage is started: from its start to the moment it has joined its group, has read its snapshots, and
has confirmed the next message of each partition. Joining alone is what the same stage takes where there is no snapshot.
"""

import argparse
import asyncio
import os
import time
import uuid
from collections.abc import Sequence

from confluent_kafka import Producer

from bench.kafka_load import batches
from bench.spans import Load, Spans
from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.operators.detect import DetectOperator
from pipeline.operators.state import dump, load, version
from pipeline.settings import Settings
from pipeline.snapshots import find, messages, partition_of_task, task_name
from pipeline.stages.base import StageError
from pipeline.stages.detect import Detect
from schemas.codecs import TICK
from schemas.codecs.blocks import decode_batch
from schemas.topics import SIGNALS, SNAPSHOTS, TRACES
from tests.services.kafka_server import NoKafkaError, fresh_topics, real_kafka

RULES = TimeRules()
TASKS = [task_name("detect", TRACES.name, number) for number in range(TRACES.partitions)]
STARTED_SECONDS = 120.0
Records = list[tuple[str, bytes]]


def main() -> None:
    """Print the size and the times."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sessions", type=int, default=100_000)
    arguments.add_argument("--spans", type=int, default=4, help="of each session before")
    arguments.add_argument("--no-kafka", action="store_true")
    args = arguments.parse_args()
    operators = [fresh(number) for number in range(TRACES.partitions)]
    for batch in batches(Spans(Load(args.sessions * args.spans, args.sessions)), RULES):
        operators[batch.partition].read(decode_batch(batch, "agent_span"))
    live = sum(len(operator.sessions) for operator in operators)
    newest = max(operator.panes.lateness.newest for operator in operators)
    began = time.perf_counter()
    snapshots = [encoded(task, operator) for task, operator in zip(TASKS, operators, strict=True)]
    took = time.perf_counter() - began
    del operators
    began = time.perf_counter()
    restored = []
    for number, (task, records) in enumerate(zip(TASKS, snapshots, strict=True)):
        snapshot = find(task, records, version()).snapshot
        assert snapshot is not None
        restored.append(fresh(number))
        load(restored[-1], snapshot.blobs)
    loaded = time.perf_counter() - began
    assert sum(len(operator.sessions) for operator in restored) == live
    del restored
    size = sum(len(value) for records in snapshots for _, value in records)
    count = sum(len(records) for records in snapshots)
    print(f"{'live sessions':>14} {'MB':>7} {'bytes each':>11} {'messages':>9} {'encode s':>9} {'load s':>7}")
    print(f"{live:>14,} {size / 1e6:>7.1f} {size / live:>11.0f} {count:>9,} {took:>9.2f} {loaded:>7.2f}")
    if not args.no_kafka:
        try:
            with real_kafka() as kafka:
                print(f"\n{kafka.says}, {os.cpu_count()} cores; seconds from a stage's start to reading on")
                for says, times in (("no snapshot", 0), ("with it", 2)):  # the broker has not compacted the older one
                    found = asyncio.run(recovery(kafka.bootstrap, snapshots * times, newest))
                    print(f"{says:>14} {found:>7.2f}")
        except NoKafkaError as error:
            print(f"\nno stage was started: {error}")


async def recovery(kafka: str, snapshots: Sequence[Records], newest: int) -> float:
    """Seconds from the start of detect until it has read and confirmed one more message of each partition."""
    settings = Settings(kafka=kafka, recorded=True, group_prefix=f"bench-{uuid.uuid4().hex[:8]}")
    await asyncio.to_thread(fresh_topics, settings)
    producer = Producer({"bootstrap.servers": kafka, "message.max.bytes": 1_000_000})
    for records in snapshots:
        for key, value in records:
            producer.produce(SNAPSHOTS.name, value, key.encode(), partition=partition_of_task(key.rsplit("/", 3)[0]))
            producer.flush(30)
    for second in range(2):  # the first is in the snapshot, the second is what is read on
        for number in range(TRACES.partitions):
            producer.produce(TRACES.name, TICK, partition=number, timestamp=newest // 1000 + second)
        producer.flush(30)
    errors: list[StageError] = []
    stage = Detect(settings, errors.append, limits=Limits(), rules=RULES, now=lambda: newest)
    wanted = TRACES.partitions * (1 if snapshots else 2)
    began = time.perf_counter()
    await stage.start()
    while not (stage.progress.messages == wanted and stage.progress.confirmed == stage.progress.elements):
        if errors or time.perf_counter() - began > STARTED_SECONDS:
            raise RuntimeError(f"{stage.progress.messages} of {wanted} messages read: {errors}")
        await asyncio.sleep(0.01)
    took = time.perf_counter() - began
    await stage.stop(grace=0)
    return took


def encoded(task: str, operator: DetectOperator) -> Records:
    """A snapshot of the operator at offset 1."""
    chunks, manifest = messages(task, "1-bench", 0, version(), 1, dump(operator))
    return [*chunks, manifest]


def fresh(number: int) -> DetectOperator:
    """An operator that has read nothing."""
    return DetectOperator(TRACES.name, number, "bench", SIGNALS.partitions, None, RULES)


if __name__ == "__main__":
    main()
