"""What people on call say, to Kafka and back: `oncall.v1`."""

import asyncio

from pipeline.kafka_connection import KafkaConnection
from pipeline.sending import Said, send
from pipeline.stages.read_back import read_whole_topic
from schemas.errors import DependencyError
from schemas.oncall import Acknowledgement, Silencing, decode_word, encode_word
from schemas.topics import ONCALL

Word = Silencing | Acknowledgement


def say(connection: KafkaConnection, word: Word) -> None:
    """Returns when the broker has it. Raises DependencyError."""
    if failed := send(connection, [Said(ONCALL.name, encode_word(word), word.key)]):
        raise DependencyError(f"Kafka did not take it ({failed}); say it again.")


def silences(connection: KafkaConnection) -> list[Silencing]:
    """The newest version of each, in the order of their ends. Raises DependencyError."""

    async def read() -> list[Word]:
        return [decode_word(value) async for value in read_whole_topic(connection, ONCALL)]

    found = [word for word in asyncio.run(read()) if isinstance(word, Silencing)]
    newest = {word.key: word for word in found}
    return sorted(newest.values(), key=lambda word: (word.ends_at, word.silence_id))
