"""Publishes `limits.yml` to `limits.v1`: what is new in it, checked against what is published."""

from pipeline.core.limit_versions import Published, Refused, to_publish
from pipeline.core.limits import Limits
from pipeline.reaching import reach
from pipeline.sending import Said, send
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
    messages = []
    for record in records:
        fields = {name: getattr(record, name) for name in ("version", "effective_from", "document")}
        value = encode("limits_version", {**fields, "author": author})
        messages.append(Said(LIMITS.name, value, f"*/{record.version}".encode()))
    if failed := send(settings.kafka_connection, messages):
        raise DependencyError(f"Kafka did not take the limits ({failed}); run the command again.")
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
