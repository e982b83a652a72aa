"""A broker for each test module, and a group prefix for each test."""

import asyncio
import uuid
from collections.abc import Callable, Iterator

import pytest

from pipeline.settings import Settings
from tests.stages.kafka import Broker


@pytest.fixture
def kafka() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.close()


@pytest.fixture
def settings(kafka: Broker) -> Settings:
    return Settings(
        kafka=kafka.bootstrap,
        group_prefix=f"test-{uuid.uuid4().hex[:8]}",
        recorded=True,
        session_timeout_seconds=6,
        commit_interval_seconds=0.1,
    )


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something holds; the test fails where it does not in time."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"not so after {seconds} s: {condition}"
        await asyncio.sleep(0.01)
