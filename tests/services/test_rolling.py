"""Workers are rolled over, join and leave in a storm, or freeze, on a real broker: no row is lost, no commit goes back."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from pydantic import SecretStr

from pipeline.app import Pipeline
from pipeline.settings import Settings
from schemas.topics import INPUTS, TRACES
from tests.builders import at
from tests.faults.conftest import faulty
from tests.faults.load import STEP_SECONDS, event_of
from tests.faults.sink import FaultySink, Place
from tests.faults.worker import Worker
from tests.services.kafka_server import RealKafka, fresh_topics
from tests.stages.conftest import Sink

__all__ = ["faulty"]

pytestmark = pytest.mark.services
SESSION_SECONDS = 2
EVENTS_PER_TURN = 20
DEADLINE_SECONDS = 60.0
PARTITIONS = sum(topic.partitions for topic in INPUTS)
ASSIGNED = "Setting newly assigned partitions"  # aiokafka's log


class Group:
    """The group of archive on a real broker: a load that goes on, and what of it is committed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.produced: set[Place] = set()
        self.committed = [0] * TRACES.partitions
        self._number = 0
        self._producer = Producer({"bootstrap.servers": settings.kafka, "linger.ms": 5, "log_level": 0})
        self._consumer = Consumer(
            {"bootstrap.servers": settings.kafka, "group.id": settings.group("archive"), "log_level": 0}
        )

    def produce(self) -> None:
        """Some more events of each partition, and wait until the broker has them."""
        for _ in range(EVENTS_PER_TURN):
            self._number += 1
            self._producer.produce(
                TRACES.name,
                event_of(self._number),
                f"event-{self._number}".encode(),
                partition=self._number % TRACES.partitions,
                timestamp=at(self._number * STEP_SECONDS) // 1000,
                on_delivery=self._delivered,
            )
        assert self._producer.flush(20) == 0

    def _delivered(self, error: object, message: object) -> None:
        assert error is None, error
        self.produced.add((message.partition(), message.offset(), message.key().decode()))  # type: ignore[attr-defined]

    def look(self) -> None:
        """See what is committed; a partition never goes back."""
        places = [TopicPartition(TRACES.name, number) for number in range(TRACES.partitions)]
        found = [max(0, place.offset) for place in self._consumer.committed(places, timeout=20)]
        assert all(before <= now for before, now in zip(self.committed, found, strict=True)), (self.committed, found)
        self.committed = found

    async def until(self, condition: Callable[[], bool], *, under_load: bool = True) -> None:
        """Go on producing, and looking at what is committed, while something is waited for."""
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < end, f"not so in time: {condition}; {self.committed} are committed"
            if under_load:
                await asyncio.to_thread(self.produce)
            await asyncio.to_thread(self.look)
            await asyncio.sleep(0.05)

    async def works(self) -> None:
        """Events that are produced from now on are committed, of every partition."""
        count = self._number // TRACES.partitions
        await self.until(lambda: all(number > count for number in self.committed))

    async def drain(self) -> None:
        await self.until(lambda: sum(self.committed) == len(self.produced), under_load=False)

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def group(real_kafka: RealKafka) -> Iterator[Group]:
    settings = Settings(
        kafka=real_kafka.bootstrap,
        group_prefix=f"test-{uuid.uuid4().hex[:8]}",
        recorded=True,
        commit_interval_seconds=0.1,
    ).model_copy(update={"session_timeout_seconds": SESSION_SECONDS})
    fresh_topics(settings)
    made = Group(settings)
    yield made
    made.close()


class Workers:
    """Workers of one group, each a pipeline in this loop, with one sink for all."""

    def __init__(self, settings: Settings) -> None:
        self.sink = Sink()
        self.running: list[Pipeline] = []
        self._settings = settings

    async def join(self, instance: str = "") -> Pipeline:
        settings = self._settings.model_copy(update={"instance": instance})
        worker = Pipeline(settings, ["archive"], writer=lambda: self.sink)
        self.running.append(worker)
        await worker.start()
        return worker

    async def leave(self, worker: Pipeline, grace: float = 15.0) -> bool:
        self.running.remove(worker)
        return await worker.stop(grace)

    def shares(self) -> list[int]:
        """How many partitions each has, the least first."""
        for worker in self.running:
            worker.check()
        return sorted(len(worker.stages["archive"].consumer.frontiers()) for worker in self.running)

    def rows(self) -> set[Place]:
        return {(row["partition"], row["offset"], row["span_id"]) for row in self.sink.rows["agent_traces"]}


@pytest.fixture
async def workers(group: Group) -> AsyncIterator[Workers]:
    made = Workers(group.settings)
    yield made
    for worker in list(made.running):
        await made.leave(worker, grace=0.0)


@pytest.mark.fault("F08")
async def test_three_workers_that_are_restarted_one_after_the_other_lose_nothing(
    group: Group, workers: Workers
) -> None:
    shares = [3, 3, 6]  # partitions of the same number stay together: Faust gives four lots of three to three workers
    rolled = [await workers.join(f"worker-{number}") for number in range(3)]
    await group.until(lambda: workers.shares() == shares)
    for number, worker in enumerate(rolled):
        assert await workers.leave(worker)
        await workers.join(f"worker-{number}")
        await group.works()
    await group.until(lambda: workers.shares() == shares)
    await group.drain()
    assert workers.rows() == group.produced


@pytest.mark.fault("F09")
@pytest.mark.parametrize("rounds", [2, pytest.param(30, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
async def test_while_a_worker_joins_and_leaves_again_and_again_there_is_always_progress(
    group: Group, workers: Workers, rounds: int
) -> None:
    half = PARTITIONS // 2
    await workers.join()
    await group.works()
    for number in range(rounds):
        other = await workers.join()
        await group.until(lambda: workers.shares() == [half, half])
        await group.works()
        await workers.leave(other, grace=15.0 if number % 2 else 0.0)  # in order, and as good as killed
        await group.works()
    await group.drain()
    assert workers.rows() == group.produced


@pytest.mark.fault("F06")
async def test_a_worker_that_was_frozen_commits_nothing_of_what_another_has_taken_over(
    group: Group, faulty: FaultySink, tmp_path: Path
) -> None:
    settings = group.settings.model_copy(
        update={
            "clickhouse_url": faulty.url,
            "clickhouse_user": faulty.user,
            "clickhouse_password": SecretStr(faulty.password),
            "clickhouse_database": faulty.client.database,
        }
    )
    workers = [Worker(settings, ["archive"], tmp_path / "first")]
    try:
        (first,) = workers
        await group.works()
        await group.drain()
        faulty.plan = lambda _: "slow 0.5"
        written, assigned = len(faulty.inserts), first.log.read_text().count(ASSIGNED)
        await group.until(lambda: len(faulty.inserts) > written)
        first.freeze()  # with rows in hand that will be written, and not committed
        faulty.plan = lambda _: "pass"
        workers.append(Worker(settings, ["archive"], tmp_path / "second"))
        await group.works()  # of every partition: the second has them all
        await group.drain()  # nothing is left that a commit of the second could cover up
        first.thaw()
        await group.until(lambda: first.log.read_text().count(ASSIGNED) > assigned, under_load=False)
        await group.works()
        await group.drain()
        assert [worker.ended for worker in workers] == [None, None], first.tail()
    finally:
        for worker in workers:
            worker.kill()
    assert set(faulty.rows()) == group.produced
