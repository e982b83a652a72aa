"""The limits in force, as a stage at work reads them: `limits.v1` from its start, and what is added to it.

`current` is asked before each element and asks Kafka where the topic ends, at most twice a second. A version comes into
force no sooner than Kafka had it, and a pane closes at least a second after it began: so whoever judges a pane has read
every version that may hold for it, and live run and replay go by the same. A version that cannot be used is logged,
and the ones before it stay in force.
"""

import asyncio
import logging
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from pipeline.clock import monotonic
from pipeline.core.limit_versions import Published, Refused, followed_by
from pipeline.core.limits import Limits
from pipeline.frontier import MICROS_PER_MS
from pipeline.kafka_connection import KafkaConnection
from pipeline.kafka_faults import is_passing
from schemas.codecs.single import UnreadableError, decode
from schemas.errors import DependencyError
from schemas.topics import LIMITS

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 1.0


class LimitsLog:
    """One stage's reader. `base` holds where nothing is published. Not for two threads at once."""

    def __init__(self, connection: KafkaConnection, base: Limits) -> None:
        self._connection = connection
        self._base = base
        self._published: Limits | None = None
        self._consumer: Any = None
        self._read_to = 0
        self._looked_at = float("-inf")

    @property
    def limits(self) -> Limits:
        """As of the last look."""
        return self._base if self._published is None else self._published

    async def current(self) -> Limits:
        """The limits with all versions. Raises DependencyError where Kafka does not say for 30 s."""
        if monotonic() - self._looked_at >= LOOK_SECONDS:
            await asyncio.to_thread(self.look)
        return self.limits

    def look(self) -> None:
        """Read to the end; blocks."""
        deadline = monotonic() + TIMEOUT_SECONDS
        place = TopicPartition(LIMITS.name, 0, OFFSET_BEGINNING)
        if self._consumer is None:
            self._consumer = Consumer(
                {
                    **self._connection.librdkafka(),
                    "group.id": "aftermath.limits",  # never committed, never joined
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "fetch.wait.max.ms": 50,
                    "log_level": 0,
                }
            )
            self._consumer.assign([place])
        began = monotonic()
        end = None
        while end is None or self._read_to < end:
            if monotonic() > deadline:
                raise DependencyError(f"Kafka gave nothing of {LIMITS.name} for {TIMEOUT_SECONDS:.0f} s; is it up?")
            try:
                if end is None:
                    end = self._consumer.get_watermark_offsets(place, timeout=POLL_SECONDS)[1]
                    continue
                message = self._consumer.poll(POLL_SECONDS)
            except KafkaException as error:
                if not is_passing(error.args[0]):
                    raise DependencyError(f"{LIMITS.name} cannot be read: {error.args[0].str()}.") from error
                continue
            if message is not None:
                self._take(message)
        self._looked_at = began

    def _take(self, message: Any) -> None:
        if message.error() is not None:
            if message.error().name() == "_PARTITION_EOF":  # compaction may have left nothing up to the end
                self._read_to = max(self._read_to, message.offset())
            return
        self._read_to = message.offset() + 1
        if message.value() is None:
            return
        try:
            record = published_of(message)
            self._published = followed_by(self._published, record)
        except (Refused, UnreadableError) as error:
            log.error("limits.v1, offset %s is not used, the limits before it hold: %s", message.offset(), error)
        else:
            log.info("limits: version %s is known", record.version)

    def close(self) -> None:
        """Give the connection back."""
        if self._consumer is not None:
            self._consumer.close()


def published_of(message: Any) -> Published:
    """A record of the topic. Raises UnreadableError, and Refused where it is another record."""
    name, value = decode(message.value())
    if name != "limits_version":
        raise Refused(f"a {name} where a limits_version belongs")
    appended_at = message.timestamp()[1] * MICROS_PER_MS
    return Published(value["version"], value["effective_from"], value["document"], appended_at)
