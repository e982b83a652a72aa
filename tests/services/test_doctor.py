"""`aftermath doctor` on a real broker: brokers, topics, who reads, what waits, and the time."""

import asyncio
import uuid

import pytest
from confluent_kafka import Producer

from pipeline.app import Pipeline
from pipeline.checks.finding import Finding, findings
from pipeline.checks.kafka import kafka
from pipeline.settings import Settings
from pipeline.stages.batching import TableWriter
from schemas.codecs import TICK
from schemas.topics import TRACES
from tests.services.kafka_server import RealKafka, fresh_topics
from tests.stages.conftest import until

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
WAITING = 7


def no_writer() -> TableWriter:
    raise AssertionError("detect writes no tables")


def asked(settings: Settings) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings("Kafka", kafka, settings)}


async def test_it_says_who_reads_what_waits_and_the_time(real_kafka: RealKafka) -> None:
    settings = Settings(
        kafka=real_kafka.bootstrap, group_prefix=f"test-{uuid.uuid4().hex[:8]}", session_timeout_seconds=6,
        commit_interval_seconds=0.1, snapshot_seconds=0.2,
    )  # fmt: skip
    await asyncio.to_thread(fresh_topics, settings)
    producer = Producer({"bootstrap.servers": settings.kafka})
    for _ in range(WAITING):
        producer.produce(TRACES.name, TICK, partition=0)
    assert producer.flush(20) == 0

    before = await asyncio.to_thread(asked, settings)
    end = asyncio.get_running_loop().time() + 60
    while "group detect" not in before:  # the topics were only just made: the broker may not say so everywhere yet
        assert asyncio.get_running_loop().time() < end, before
        before = await asyncio.to_thread(asked, settings)
    assert before["group detect"].says == (
        f"nobody reads, lag {WAITING} messages: start `aftermath run --stage detect`."
    )
    assert before["group notify"].says == "nobody reads, nothing waits: start `aftermath run --stage notify`."
    assert real_kafka.bootstrap in before["Kafka"].says
    assert f"{TRACES.name} {TRACES.partitions}" in before["topics"].says
    assert before["clock"].level == "ok"

    pipeline = Pipeline(settings, ("detect",), writer=no_writer)
    await pipeline.start()
    try:
        await pipeline.ready()
        stage = pipeline.stages["detect"]
        await until(lambda: stage.progress.messages >= WAITING)
        during = await asyncio.to_thread(asked, settings)
        assert during["group detect"].level == "ok"
        assert during["group detect"].says.startswith("1 members, ")
        assert during["group archive"].level == "warn"
        assert during["clock"].level == "ok"
    finally:
        await pipeline.stop()


def test_topics_that_are_missing_are_one_sentence(real_kafka: RealKafka) -> None:
    settings = Settings(kafka=real_kafka.bootstrap, recorded=True)
    fresh_topics(settings)
    found = asked(settings.model_copy(update={"recorded": False}))
    assert found["Kafka"].level == "todo"
    assert "message.timestamp.type LogAppendTime" in found["Kafka"].says
