"""Kafka: brokers, topics, the groups of the stages with their members and lag, and the time.

The broker tells nobody its time; its stamps do. The newest stamp of the input topics is never ahead of the broker's
clock, so one ahead of ours says by how much at least; and where detect is running and has read all, an idle partition
gets a tick each pane, so that stamps that are much older say that the clock is behind (or that nothing ticks).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition

from pipeline.checks.finding import Finding, clock
from pipeline.clock import monotonic, now_micros
from pipeline.offsets import Offsets, Place
from pipeline.reaching import Reached, reach
from pipeline.settings import Settings
from pipeline.stages.archive import Archive
from pipeline.stages.correlate import Correlate
from pipeline.stages.detect import Detect
from pipeline.stages.ingest import Ingest
from pipeline.stages.notify import Notify
from pipeline.stages.record import Record
from pipeline.topic_setup import TIMEOUT_SECONDS, check_topics
from schemas.topics import ALL, BY_NAME, INPUTS, Topic

READS: Mapping[str, tuple[Topic, ...]] = {
    stage.name: tuple(BY_NAME[name] for name in stage.topics)
    for stage in (Ingest, Detect, Correlate, Record, Archive, Notify)
}
READ_SECONDS = 3.0
MILLISECONDS = 1_000


@dataclass(frozen=True, slots=True)
class Group:
    """Who reads for a stage. members is None where the broker does not tell."""

    lag: int
    members: int | None = None
    idle: int = 0  # members without a partition
    is_moving: bool = False


def kafka(settings: Settings) -> Iterator[Finding]:
    """Asks, and changes nothing."""
    reached = reach(settings.kafka_connection, TIMEOUT_SECONDS)
    brokers = ", ".join(f"{broker.host}:{broker.port}" for broker in reached.cluster.brokers.values())
    kind = "the embedded broker" if reached.is_embedded else f"{len(reached.cluster.brokers)} brokers"
    yield Finding("Kafka", "ok", f"answers: {kind} ({brokers}); reached as {settings.kafka_connection}")
    check_topics(settings)
    partitions = ", ".join(f"{topic.name} {topic.partitions}" for topic in ALL)
    yield Finding("topics", "ok", f"as they must be; partitions: {partitions}")
    offsets = Offsets(settings.kafka_connection)
    try:
        groups = _groups(settings, reached, offsets)
        for stage, group in groups.items():
            yield finding_of(stage, group)
        newest = _newest(settings, offsets.ends(INPUTS))
    finally:
        offsets.close()
    if newest is not None and not settings.recorded:  # a recording has the times of its own
        yield _clock(settings, groups["detect"], newest)


def finding_of(stage: str, group: Group) -> Finding:
    """What to say of one stage's group."""
    check = f"group {stage}"
    waiting = f"lag {group.lag:,} messages" if group.lag else "nothing waits"
    if group.members is None:
        return Finding(check, "ok", f"{waiting}; the embedded broker does not tell of members")
    if group.members == 0:
        return Finding(check, "warn", f"nobody reads, {waiting}: start `aftermath run --stage {stage}`.")
    if group.is_moving:
        return Finding(check, "warn", f"{group.members} members share the partitions anew, {waiting}: ask again soon.")
    if group.idle:
        says = f"{group.idle} of {group.members} members have no partition, {waiting}: stop them, they cannot help."
        return Finding(check, "warn", says)
    return Finding(check, "ok", f"{group.members} members, {waiting}")


def _groups(settings: Settings, reached: Reached, offsets: Offsets) -> dict[str, Group]:
    stages = [stage for stage in READS if stage in settings.stages and not (stage == "ingest" and settings.recorded)]
    stages = list(dict.fromkeys([*stages, "detect"]))
    lags: dict[str, int] = {stage: _lag(offsets, settings.group(stage), READS[stage]) for stage in stages}
    if reached.is_embedded:
        return {stage: Group(lag) for stage, lag in lags.items()}
    asked = reached.admin.describe_consumer_groups(
        [settings.group(stage) for stage in stages], request_timeout=TIMEOUT_SECONDS
    )
    found: dict[str, Group] = {}
    for stage in stages:
        try:
            described = asked[settings.group(stage)].result()
        except KafkaException as error:
            if error.args[0].name() != "GROUP_ID_NOT_FOUND":
                raise offsets.down(error) from error
            found[stage] = Group(lags[stage], members=0)
            continue
        idle = sum(not (one.assignment and one.assignment.topic_partitions) for one in described.members)
        is_moving = described.state in (
            ConsumerGroupState.PREPARING_REBALANCING,
            ConsumerGroupState.COMPLETING_REBALANCING,
        )
        found[stage] = Group(lags[stage], len(described.members), idle, is_moving)
    return found


def _lag(offsets: Offsets, group: str, topics: Sequence[Topic]) -> int:
    committed, ends = offsets.committed(group, topics), offsets.ends(topics)
    return sum(max(0, end - committed[place]) for place, end in ends.items())


def _newest(settings: Settings, ends: Mapping[Place, int]) -> int | None:
    """The newest stamp of these partitions, microseconds; None where none of them holds a message."""
    last = [TopicPartition(topic, partition, end - 1) for (topic, partition), end in ends.items() if end > 0]
    if not last:
        return None
    consumer = Consumer(
        settings.kafka_connection.librdkafka()
        | {"group.id": "aftermath.doctor", "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    )
    newest, unread, until = None, len(last), monotonic() + READ_SECONDS
    try:
        consumer.assign(last)
        while unread and monotonic() < until:
            for message in consumer.consume(len(last), 0.2):
                if message.error() is None:
                    newest = max(newest or 0, message.timestamp()[1] * MILLISECONDS)
                else:
                    unread -= 1
    finally:
        consumer.close()
    return newest


def _clock(settings: Settings, detect: Group, newest: int) -> Finding:
    ahead = (newest - now_micros()) / 1_000_000
    if ahead > 0:
        return clock("clock", "the broker's", ahead)
    is_ticking = bool(detect.members) and not detect.lag
    ticked_within = 2.0 * settings.pane_seconds
    if is_ticking and -ahead > ticked_within:
        return clock("clock", "the broker's", ahead + ticked_within)
    return Finding("clock", "ok", f"the broker's newest stamp is {-ahead:.0f} s old, and none is ahead of this machine")
