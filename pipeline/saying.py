"""What people on call say, to Kafka and back: `oncall.v1`."""

import asyncio

from confluent_kafka import Producer

from pipeline.kafka_connection import KafkaConnection
from pipeline.stages.read_back import read_whole_topic
from schemas.errors import DependencyError
from schemas.oncall import Acknowledgement, Silencing, decode_word, encode_word
from schemas.topics import ONCALL

TIMEOUT_SECONDS = 15.0
Word = Silencing | Acknowledgement


def say(connection: KafkaConnection, word: Word) -> None:
    """Returns when the broker has it. Raises DependencyError."""
    producer = Producer({**connection.librdkafka(), "enable.idempotence": True, "log_level": 0})
    failed = []
    producer.produce(
        ONCALL.name,
        encode_word(word),
        word.key,
        on_delivery=lambda error, _: failed.append(error) if error is not None else None,
    )
    if producer.flush(TIMEOUT_SECONDS) or failed:
        raise DependencyError(f"Kafka did not take it ({failed or 'no answer'}); say it again.")


def silences(connection: KafkaConnection) -> list[Silencing]:
    """The newest version of each, in the order of their ends. Raises DependencyError."""

    async def read() -> list[Word]:
        return [decode_word(value) async for value in read_whole_topic(connection, ONCALL)]

    found = [word for word in asyncio.run(read()) if isinstance(word, Silencing)]
    newest = {word.key: word for word in found}
    return sorted(newest.values(), key=lambda word: (word.ends_at, word.silence_id))
