"""Publishes `limits.yml` to `limits.v1`: what is new in it, checked against what is published."""

from confluent_kafka import Producer

from pipeline.core.limit_versions import Published, Refused, to_publish
from pipeline.core.limits import Limits
from pipeline.reaching import reach
from pipeline.settings import Settings
from pipeline.stages.limits_log import LimitsLog
from schemas.codecs.single import encode
from schemas.errors import DependencyError, UsageError
from schemas.topics import LIMITS

TIMEOUT_SECONDS = 15.0


def publish_limits(settings: Settings, limits: Limits, *, now: int, author: str) -> list[Published]:
    """Returns what was published, oldest first; blocks. Raises UsageError where a version cannot come into force."""
    try:
        records = to_publish(limits, published(settings), now)
    except Refused as error:
        raise UsageError(f"The limits are not published: {error}.") from error
    producer = Producer({**settings.kafka_connection.librdkafka(), "enable.idempotence": True, "log_level": 0})
    failed = []
    for record in records:
        fields = {name: getattr(record, name) for name in ("version", "effective_from", "document")}
        producer.produce(
            LIMITS.name,
            encode("limits_version", {**fields, "author": author}),
            f"*/{record.version}".encode(),
            partition=0,
            on_delivery=lambda error, _: failed.append(error) if error is not None else None,
        )
    if producer.flush(TIMEOUT_SECONDS) or failed:
        raise DependencyError(f"Kafka did not take the limits ({failed or 'no answer'}); run the command again.")
    return records


def published(settings: Settings) -> Limits | None:
    """What stands in the topic now; None where nothing does. Raises DependencyError."""
    nothing = Limits()
    reach(settings.kafka_connection, TIMEOUT_SECONDS)  # says at once who refuses us
    reader = LimitsLog(settings.kafka_connection, nothing)
    try:
        reader.look()
    finally:
        reader.close()
    return None if reader.limits is nothing else reader.limits
