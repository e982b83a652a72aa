"""Which faults of Kafka time mends: leaders that move, coordinators that load, connections that break.

Kafka's protocol calls them retriable (https://kafka.apache.org/protocol#protocol_error_codes). confluent-kafka's
`KafkaError.retriable()` does not say it: it is set by the transactional producer alone, and False for a reader's
"not leader for partition", which is over within a second.
"""

from collections.abc import Callable
from time import sleep
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from pipeline.clock import monotonic

AGAIN_SECONDS = 0.1  # a leader that moves is known in less than a second
LEAST_SECONDS = 0.05  # what a question is given, however little is left

PASSING = frozenset(
    {
        "_ALL_BROKERS_DOWN",
        "_RESOLVE",
        "_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_TRANSPORT",
        "_WAIT_COORD",
        "BROKER_NOT_AVAILABLE",
        "COORDINATOR_LOAD_IN_PROGRESS",
        "COORDINATOR_NOT_AVAILABLE",
        "FENCED_LEADER_EPOCH",
        "KAFKA_STORAGE_ERROR",
        "LEADER_NOT_AVAILABLE",
        "LISTENER_NOT_FOUND",
        "NETWORK_EXCEPTION",
        "NOT_COORDINATOR",
        "NOT_LEADER_FOR_PARTITION",
        "OFFSET_NOT_AVAILABLE",
        "REPLICA_NOT_AVAILABLE",
        "REQUEST_TIMED_OUT",
        "UNKNOWN_LEADER_EPOCH",
    }
)


def is_passing(fault: KafkaError | None) -> bool:
    """Whether there is a fault, and the same question may be answered in a moment; who asks again has a deadline."""
    return fault is not None and fault.name() in PASSING


def answer_to(ask: Callable[..., Any], seconds: float) -> Any:
    """What `ask(timeout=...)` returns, asked again while the fault is one that passes and any of `seconds` is left.

    Blocks. Raises KafkaException: a fault that does not pass, or the last one there was.
    """
    deadline = monotonic() + seconds
    while True:
        try:
            return ask(timeout=max(LEAST_SECONDS, deadline - monotonic()))
        except KafkaException as error:
            if not is_passing(error.args[0]) or monotonic() >= deadline:
                raise
        sleep(AGAIN_SECONDS)
