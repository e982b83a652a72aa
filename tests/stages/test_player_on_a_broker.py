"""The player on a broker: stamps, ticks, pacing, live publishing."""

import threading
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from pipeline import player as module
from pipeline.kafka_connection import KafkaConnection
from pipeline.player import Player, Reader, partition_for, publish_live
from schemas.codecs import TICK
from schemas.codecs.single import decode
from schemas.errors import DependencyError
from schemas.events import MetricPoint
from schemas.topics import BY_NAME, INPUTS, METRICS, TRACES
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
SECOND = 1_000_000
AT = 1_770_000_000 * SECOND  # a whole pane of 5 s
PANE, LATENESS = 5 * SECOND, 10 * SECOND


def a_player(kafka: Broker, *readers: Reader, **options: object) -> Player:
    return Player(KafkaConnection(servers=kafka.bootstrap), pane=PANE, lateness=LATENESS, readers=readers, **options)  # type: ignore[arg-type]


def commit(kafka: Broker, group: str, topic: str, offsets: dict[int, int]) -> None:
    client = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group, "log_level": 0})
    client.commit(offsets=[TopicPartition(topic, *item) for item in offsets.items()], asynchronous=False)
    client.close()


def test_every_partition_gets_a_tick_for_each_pane_that_holds_something_and_one_at_the_end(kafka: Broker) -> None:
    stamps = (AT, AT + SECOND, AT + 7 * SECOND, AT + 6 * SECOND, AT + 60 * SECOND)
    played = a_player(kafka).play((TRACES.name, b"acme/session_1", b"%d" % stamp, stamp) for stamp in stamps)
    ends_at = AT + 60 * SECOND + LATENESS + PANE
    ticks = [AT, AT + 5 * SECOND, AT + 60 * SECOND, ends_at]
    partitions = sum(topic.partitions for topic in INPUTS)
    assert (played.messages, played.ticks, played.ended_at) == (5, len(ticks) * partitions, ends_at)
    for number in range(METRICS.partitions):
        assert kafka.records(METRICS.name, number) == [(TICK, tick) for tick in ticks]
    records = next(r for n in range(TRACES.partitions) if len(r := kafka.records(TRACES.name, n)) > len(ticks))
    values = [(value, stamp) for value, stamp in records if value != TICK]
    assert [stamp for _, stamp in values] == [AT, AT + SECOND, AT + 7 * SECOND, AT + 7 * SECOND, AT + 60 * SECOND]
    assert [value for value, _ in values] == [b"%d" % stamp for stamp in stamps]
    assert [stamp for _, stamp in records] == sorted(stamp for _, stamp in records)


def test_it_stays_near_the_slowest_reader(kafka: Broker) -> None:
    value = b"x" * 100_000
    messages = [(TRACES.name, b"acme/session_1", value, AT) for _ in range(60)]
    fast, slow = Reader("fast", (TRACES,)), Reader("slow", (TRACES,))
    player = a_player(kafka, fast, slow)
    errors: list[DependencyError] = []

    def play() -> None:
        try:
            player.play(messages)
        except DependencyError as error:
            errors.append(error)

    thread = threading.Thread(target=play)
    thread.start()
    number = partition_for(b"acme/session_1", TRACES.partitions)
    end = time.monotonic() + 20
    while len(kafka.records(TRACES.name, number)) < 19:
        assert time.monotonic() < end, "the player does not begin"
    commit(kafka, "fast", TRACES.name, {number: 19})
    watched_until = time.monotonic() + 0.5
    while time.monotonic() < watched_until:
        assert len(kafka.records(TRACES.name, number)) <= 21  # 2 MB of 100 kB, and a tick
    while thread.is_alive():
        assert time.monotonic() < end, "the player does not go on"
        written = len(kafka.records(TRACES.name, number))
        for group in ("fast", "slow"):
            commit(kafka, group, TRACES.name, {number: written})
    assert not errors
    assert player.played.messages == 60


def test_readers_that_do_not_move_are_named_instead_of_waited_for_for_ever(
    kafka: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.3)
    messages = ((TRACES.name, b"acme/session_1", b"x" * 100_000, AT) for _ in range(60))
    with pytest.raises(DependencyError, match="The stages have confirmed nothing for 0 s; check that the workers run"):
        a_player(kafka, Reader("nobody", (TRACES,))).play(messages)


def test_it_keeps_the_speed_it_was_given_and_tells_how_far_it_is(kafka: Broker) -> None:
    told: list[tuple[int, int, int]] = []
    messages = ((TRACES.name, b"k", b"v", AT + number * SECOND) for number in range(4))
    began = time.monotonic()
    a_player(kafka, speed=10.0, progress=lambda *numbers: told.append(numbers)).play(messages)
    assert 0.3 <= time.monotonic() - began < 5
    assert told[-1][:2] == (AT + 3 * SECOND, 4)
    assert [reached for reached, _, _ in told] == sorted(reached for reached, _, _ in told)


def test_live_events_happen_from_now_on_at_the_speed_they_had(kafka: Broker) -> None:
    def events() -> Iterator[tuple[MetricPoint, int]]:
        for number in range(3):
            at = AT + number * SECOND // 10
            yield (
                MetricPoint(event_time=at, tenant="acme", resource="r", metric="cpu", value=1.0, kind="gauge"),
                at,
            )

    began = time.time_ns() // 1000
    played = publish_live(
        events(), connection=KafkaConnection(servers=kafka.bootstrap), now=lambda: time.time_ns() // 1000
    )
    found = [record for n in range(BY_NAME[METRICS.name].partitions) for record in kafka.records(METRICS.name, n)]
    times = [decode(value)[1]["event_time"] for value, _ in found]
    assert played.messages == 3
    assert times[0] >= began
    assert [at - times[0] for at in times] == [0, SECOND // 10, SECOND // 5]
    assert all(abs(stamp - at) < 2 * SECOND for (_, stamp), at in zip(found, times, strict=True))
