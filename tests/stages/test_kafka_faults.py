"""Faults of Kafka that time mends do not end a reader: the leader that just moved is asked again."""

import asyncio

import pytest
from confluent_kafka import KafkaError

from pipeline import offsets
from pipeline.core.limits import Limits
from pipeline.kafka_connection import KafkaConnection
from pipeline.kafka_faults import PASSING, is_passing
from pipeline.log_stretches import log_stretches
from pipeline.offsets import Offsets
from pipeline.stages.limits_log import LimitsLog
from pipeline.stages.read_back import read_partitions, read_whole_topic
from schemas.errors import DependencyError
from schemas.topics import FACTS, TRACES
from tests.builders import at
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
LIST_OFFSETS, FETCH = 2, 1
NOT_LEADER = KafkaError.NOT_LEADER_FOR_PARTITION
FORBIDDEN = KafkaError.TOPIC_AUTHORIZATION_FAILED


def connection(kafka: Broker) -> KafkaConnection:
    return KafkaConnection(servers=kafka.bootstrap)


def test_every_name_is_one_that_the_client_knows() -> None:
    codes = (getattr(KafkaError, name) for name in dir(KafkaError) if name.isupper())
    known = {KafkaError(code).name() for code in codes if isinstance(code, int)}
    assert known >= PASSING


def test_a_refusal_and_no_fault_at_all_do_not_pass() -> None:
    assert not is_passing(KafkaError(FORBIDDEN))
    assert not is_passing(None)


def test_the_limits_are_read_although_the_leader_moved(kafka: Broker) -> None:
    kafka.fail(LIST_OFFSETS, *[NOT_LEADER] * 2)
    log = LimitsLog(connection(kafka), Limits())
    try:
        log.look()
    finally:
        log.close()
    assert log.limits == Limits()


def test_the_ends_are_told_although_the_leader_moved(kafka: Broker) -> None:
    kafka.produce(TRACES.name, [b"a", b"b"])
    kafka.fail(LIST_OFFSETS, *[NOT_LEADER] * 2)
    asked = Offsets(connection(kafka))
    try:
        assert asked.ends([TRACES])[TRACES.name, 0] == 2
    finally:
        asked.close()


def test_a_leader_that_is_never_found_is_told_in_the_end(kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsets, "TIMEOUT_SECONDS", 0.5)
    kafka.fail(LIST_OFFSETS, *[NOT_LEADER] * 200)
    asked = Offsets(connection(kafka))
    try:
        with pytest.raises(DependencyError, match="does not tell its offsets"):
            asked.ends([TRACES])
    finally:
        asked.close()


def test_the_log_is_read_back_although_the_leader_moved(kafka: Broker) -> None:
    kafka.produce(TRACES.name, [b"{broken"], stamp=at(60) // 1000)
    kafka.fail(LIST_OFFSETS, *[NOT_LEADER] * 2)
    (stretch,) = log_stretches(connection(kafka), at(0), at(120))
    assert [(part.topic, len(part.rejected)) for part in stretch] == [(TRACES.name, 1)]


def test_a_topic_is_read_back_although_the_leader_moved(kafka: Broker) -> None:
    kafka.produce(FACTS.name, [b"a", b"b"])
    kafka.fail(FETCH, *[NOT_LEADER] * 2)
    found: list[bytes | None] = []
    read_partitions(connection(kafka), FACTS, {0}, lambda _key, value: found.append(value))
    assert found == [b"a", b"b"]

    async def whole() -> list[bytes]:
        return [value async for value in read_whole_topic(connection(kafka), FACTS)]

    kafka.fail(FETCH, *[NOT_LEADER] * 2)
    assert asyncio.run(whole()) == [b"a", b"b"]
