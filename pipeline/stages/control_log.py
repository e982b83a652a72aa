"""Reads `agent.controls.v1` from its start, for the command and for rules that act; writes what a person adds to it."""

from collections.abc import Sequence

from pipeline.kafka_connection import KafkaConnection
from pipeline.sending import Said, send
from pipeline.stages.read_back import read_partitions
from schemas.codecs.single import UnreadableError, decode, encode
from schemas.controls import Control, ControlError, control_of
from schemas.errors import DependencyError
from schemas.topics import CONTROLS


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
    messages = [
        Said(CONTROLS.name, encode("control", control.as_record()), control.key.encode()) for control in controls
    ]
    if failed := send(connection, messages):
        raise DependencyError(f"Kafka did not take the control ({failed}): nothing is paused by it.")
