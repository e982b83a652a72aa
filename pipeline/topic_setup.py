"""Topics as `schemas/topics.py` says: created where they are missing, checked before a worker reads.

The embedded broker (librdkafka's mock cluster) answers no administrator: topics are made by whoever starts it, and
neither created nor described here.
"""

from collections.abc import Sequence
from time import sleep

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from pipeline.clock import monotonic
from pipeline.reaching import Reached, reach
from pipeline.settings import Settings
from schemas.errors import ConfigurationError, DependencyError
from schemas.topics import ALL, INPUTS, MAX_MESSAGE_BYTES, SIGNALS, Topic

TIMEOUT_SECONDS = 15.0
REPLICAS = 3  # or as many as there are brokers


def setup_topics(settings: Settings, topics: Sequence[Topic] = ALL) -> list[str]:
    """Create what is missing; returns the names of what was created. Raises where one exists and is wrong."""
    found = _reach(settings)
    missing = [topic for topic in topics if topic.name not in found.cluster.topics]
    if missing and not found.is_embedded:
        replicas = min(REPLICAS, len(found.cluster.brokers))
        made = found.admin.create_topics(
            [
                NewTopic(topic.name, topic.partitions, replicas, config=topic_config(topic, settings.recorded))
                for topic in missing
            ],
            operation_timeout=TIMEOUT_SECONDS,
        )
        for name, future in made.items():
            try:
                future.result()
            except KafkaException as error:
                raise DependencyError(f"Kafka did not create {name}: {error.args[0].str()}.") from error
        _wait_until_known(settings, missing)
    check_topics(settings, topics)
    return [topic.name for topic in missing]


def _wait_until_known(settings: Settings, topics: Sequence[Topic]) -> None:
    """A broker may answer for a moment that a topic it has just created does not exist."""
    end = monotonic() + TIMEOUT_SECONDS
    while monotonic() < end:
        known = _reach(settings).cluster.topics
        if all(topic.name in known and known[topic.name].error is None for topic in topics):
            return
        sleep(0.05)


def check_topics(settings: Settings, topics: Sequence[Topic] = ALL) -> None:
    """Raises ConfigurationError that lists every topic that is missing, or has other partitions or times than ours."""
    reached = _reach(settings)
    faults = []
    for topic in topics:
        found = reached.cluster.topics.get(topic.name)
        if found is None or found.error is not None:
            if not reached.is_embedded:
                faults.append(f"{topic.name} does not exist")
        elif len(found.partitions) != topic.partitions:
            faults.append(f"{topic.name} has {len(found.partitions)} partitions, not {topic.partitions}")
    if faults:
        raise ConfigurationError(f"The topics are not as they must be: {'; '.join(faults)}. Run `aftermath setup`.")
    if not reached.is_embedded:
        _check_times(reached.admin, settings)


def topic_config(topic: Topic, is_recorded: bool) -> dict[str, str]:
    """How a topic is configured on the broker.

    A recording is kept for ever: its records carry the times of the recording, and the broker would count their age
    from those and delete them within minutes, read or not.
    """
    is_stamped_by_producer = is_recorded and topic.is_input
    return {
        "cleanup.policy": "compact" if topic.is_compacted else "delete",
        "retention.ms": "-1" if is_stamped_by_producer else str(topic.retention_ms),
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "message.timestamp.type": "CreateTime" if is_stamped_by_producer else "LogAppendTime",
    }


def _check_times(admin: AdminClient, settings: Settings) -> None:
    wanted = "CreateTime" if settings.recorded else "LogAppendTime"
    asked = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, topic.name) for topic in (*INPUTS, SIGNALS)],
        request_timeout=TIMEOUT_SECONDS,
    )
    faults = []
    for resource, future in asked.items():
        try:
            found = future.result()["message.timestamp.type"].value
        except KafkaException as error:
            raise DependencyError(
                f"Kafka does not say how {resource.name} is configured: {error.args[0].str()}."
            ) from error
        if resource.name != SIGNALS.name and found != wanted:
            faults.append(f"{resource.name} has message.timestamp.type {found}")
    if faults:
        kind = "recorded" if settings.recorded else "live"
        raise ConfigurationError(
            f"For {kind} data the input topics need message.timestamp.type {wanted}: {'; '.join(faults)}."
            " The watermark comes from it: recorded and live data each need topics of their own."
        )


def _reach(settings: Settings) -> Reached:
    return reach(settings.kafka_connection, TIMEOUT_SECONDS)
