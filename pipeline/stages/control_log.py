"""Reads `agent.controls.v1` from its start, for the command and for rules that act; writes what a person adds to it."""

from collections.abc import Sequence

from confluent_kafka import Producer

from pipeline.kafka_connection import KafkaConnection
from pipeline.stages.read_back import read_partitions
from schemas.codecs.single import UnreadableError, decode, encode
from schemas.controls import Control, ControlError, control_of
from schemas.errors import DependencyError
from schemas.topics import CONTROLS

TIMEOUT_SECONDS = 15.0


def known_controls(connection: KafkaConnection) -> list[Control]:
    """The newest control of each key, oldest first; blocks. What cannot be read is left out: the client does so too."""
    newest: dict[str, Control] = {}

    def put(key: str, value: bytes | None) -> None:
        newest.pop(key, None)
        if value is None:
            return
        try:
            name, record = decode(value)
            if name == "control":
                newest[key] = control_of(record, key)
        except (UnreadableError, ControlError):
            return

    read_partitions(connection, CONTROLS, set(range(CONTROLS.partitions)), put)
    return sorted(newest.values(), key=lambda control: (control.at, control.key))


def give(connection: KafkaConnection, controls: Sequence[Control]) -> None:
    """Write controls, and wait until Kafka has them. Raises DependencyError."""
    producer = Producer(
        connection.librdkafka()
        | {
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "log_level": 0,
        }
    )
    failed: list[str] = []
    for control in controls:
        producer.produce(
            CONTROLS.name,
            encode("control", control.as_record()),
            control.key.encode(),
            on_delivery=lambda error, _: failed.append(error.str()) if error is not None else None,
        )
    if producer.flush(TIMEOUT_SECONDS) or failed:
        raise DependencyError(f"Kafka did not take the control ({failed or 'no answer'}): nothing is paused by it.")
