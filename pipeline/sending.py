"""A few messages to Kafka, waited for: how a command says something."""

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import Producer

from pipeline.kafka_connection import KafkaConnection

TIMEOUT_SECONDS = 15.0


class Said(NamedTuple):
    """A message of a command."""

    topic: str
    value: bytes
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def send(connection: KafkaConnection, messages: Iterable[Said], seconds: float = TIMEOUT_SECONDS) -> str | None:
    """Returns when the broker has them, each in the partition of its key; else why it has not, after so long."""
    producer = Producer(
        connection.librdkafka() | {"enable.idempotence": True, "partitioner": "murmur2_random", "log_level": 0}
    )
    failed: list[str] = []
    for message in messages:
        producer.produce(
            message.topic,
            message.value,
            message.key,
            headers=list(message.headers),
            on_delivery=lambda error, _: failed.append(error.str()) if error is not None else None,
        )
        producer.poll(0)
    if producer.flush(seconds) or failed:
        return failed[0] if failed else "no answer"
    return None
