"""A broker and a group prefix for each test, and sinks and receivers that record."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import polars as pl
import pytest

from pipeline.settings import Settings
from pipeline.stages.base import Stage
from schemas.errors import DependencyError
from tests.stages.kafka import Broker


@pytest.fixture
def kafka() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.close()


@pytest.fixture
def settings(kafka: Broker) -> Settings:
    made = Settings(
        kafka=kafka.bootstrap,
        group_prefix=f"test-{uuid.uuid4().hex[:8]}",
        recorded=True,
        commit_interval_seconds=0.1,
        snapshot_seconds=0.2,
    )
    # Less than a real broker allows: the mock cluster waits so long after a member has left.
    return made.model_copy(update={"session_timeout_seconds": 2})


Start = Callable[[Stage[Any]], Awaitable[None]]


class Sink:
    """Keeps the rows; `is_down` refuses them as ClickHouse does when it is down."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.tokens: list[tuple[str, str]] = []
        self.is_down = False
        self.refused = 0

    def write(self, table: str, frame: pl.DataFrame, token: str) -> list[Any]:
        self.tokens.append((table, token))
        if self.is_down:
            self.refused += 1
            raise DependencyError("ClickHouse is down")
        self.rows[table] += frame.to_dicts()
        return []


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
async def started() -> AsyncIterator[Start]:
    """Starts stages; they are stopped at the end whatever happens, because their threads would outlive the test."""
    stages: list[Stage[Any]] = []

    async def start(stage: Stage[Any]) -> None:
        stages.append(stage)
        await stage.start()

    yield start
    for stage in stages:
        if not stage.is_stopped:
            await stage.stop(grace=0)


async def until(condition: Callable[[], object], seconds: float = 45.0) -> None:
    """Wait until something holds; the test fails where it does not in time."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"not so after {seconds} s: {condition}"
        await asyncio.sleep(0.01)
