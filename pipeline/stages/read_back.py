"""Reads a topic from its start to its end: how a stage learns what it, or another worker, has written before."""

import asyncio
from collections.abc import AsyncIterator, Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from pipeline.clock import monotonic
from pipeline.kafka_connection import KafkaConnection
from pipeline.kafka_faults import is_passing
from schemas.errors import DependencyError
from schemas.topics import Topic

BATCH = 500
TIMEOUT_SECONDS = 30.0


async def read_whole_topic(connection: KafkaConnection, topic: Topic) -> AsyncIterator[bytes]:
    """The values of all records that stand in the topic now, each partition in offset order; no tombstones.

    Raises DependencyError where Kafka does not answer for 30 s.
    """
    async for value in _read(connection, topic, goes_on=False):
        yield value


async def follow_topic(connection: KafkaConnection, topic: Topic) -> AsyncIterator[bytes]:
    """As `read_whole_topic`, and then what comes, until it is cancelled. A broker that is away is waited for."""
    async for value in _read(connection, topic, goes_on=True):
        yield value


async def _read(connection: KafkaConnection, topic: Topic, *, goes_on: bool) -> AsyncIterator[bytes]:
    consumer = Consumer(connection.onlooker(f"aftermath.read_back.{topic.name}") | {"fetch.wait.max.ms": 50})
    loop = asyncio.get_running_loop()
    try:
        places = [TopicPartition(topic.name, number, OFFSET_BEGINNING) for number in range(topic.partitions)]
        await asyncio.to_thread(consumer.assign, places)
        unread = set(range(topic.partitions))
        heard_at = loop.time()
        while unread or goes_on:
            found = await asyncio.to_thread(consumer.consume, BATCH, 0.5)
            for message in found:
                error = message.error()
                if not is_passing(error):
                    heard_at = loop.time()
                if error is None:
                    value = message.value()
                    if value is not None:
                        yield value
                elif error.name() == "_PARTITION_EOF":
                    unread.discard(message.partition())
                elif not is_passing(error) and not goes_on:
                    raise DependencyError(f"Kafka does not let {topic.name} be read: {error.str()}.")
            if not goes_on and loop.time() - heard_at > TIMEOUT_SECONDS:
                raise DependencyError(
                    f"Kafka gave nothing of {topic.name} for {TIMEOUT_SECONDS:.0f} s; check that it is up."
                )
    except KafkaException as error:
        raise DependencyError(f"{topic.name} cannot be read: {error.args[0].str()}.") from error
    finally:
        await asyncio.to_thread(consumer.close)


def read_partitions(
    connection: KafkaConnection, topic: Topic, partitions: set[int], put: Callable[[str, bytes | None], None]
) -> None:
    """Hand on key and value of every record that stands in these partitions now, each in offset order; blocks.

    Nothing is kept here: who calls keeps what it needs. Raises DependencyError where Kafka does not answer for 30 s.
    """
    consumer = Consumer(connection.onlooker(f"aftermath.read_back.{topic.name}") | {"fetch.wait.max.ms": 10})
    unread = set(partitions)
    try:
        consumer.assign([TopicPartition(topic.name, number, OFFSET_BEGINNING) for number in sorted(partitions)])
        heard_at = monotonic()
        while unread:
            message = consumer.poll(1.0)
            if message is None or is_passing(message.error()):
                if monotonic() - heard_at < TIMEOUT_SECONDS:
                    continue
                raise DependencyError(
                    f"Kafka gave nothing of {topic.name} for {TIMEOUT_SECONDS:.0f} s; check that it is up."
                )
            heard_at = monotonic()
            error = message.error()
            if error is None:
                put((message.key() or b"").decode(errors="replace"), message.value())
            elif error.name() == "_PARTITION_EOF":
                unread.discard(message.partition())
            else:
                raise DependencyError(f"Kafka does not let {topic.name} be read: {error.str()}.")
    except KafkaException as error:
        raise DependencyError(f"{topic.name} cannot be read: {error.args[0].str()}.") from error
    finally:
        consumer.close()
