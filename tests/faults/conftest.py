"""The beds: a mock cluster for each test, an embedded ClickHouse behind a port that fails."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.embedded import Database
from pipeline.settings import Settings
from tests.databases import drop, migrated
from tests.faults.broker import FaultyBroker
from tests.faults.load import Load
from tests.faults.sink import FaultySink
from tests.stages.conftest import settings, sink, started

__all__ = ["settings", "sink", "started"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A stage that its fault has ended closes no connection, and here the process lives on."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:Unclosed AIOKafka:ResourceWarning"))


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    """What such a stage left open goes in the test that left it, and not in one that knows nothing of it."""
    yield
    gc.collect()


@pytest.fixture
def kafka() -> Iterator[FaultyBroker]:
    broker = FaultyBroker()
    yield broker
    broker.close()


@pytest.fixture
def faulty(clickhouse: Database) -> Iterator[FaultySink]:
    """A database of its own behind a faulty port."""
    client = migrated(clickhouse)
    made = FaultySink(clickhouse, client)
    yield made
    made.close()
    drop(client)


@pytest.fixture
def at_sink(settings: Settings, faulty: FaultySink) -> Settings:
    """The settings of a worker that writes to the faulty sink."""
    return settings.model_copy(
        update={
            "clickhouse_url": faulty.url,
            "clickhouse_user": faulty.user,
            "clickhouse_password": SecretStr(faulty.password),
            "clickhouse_database": faulty.client.database,
        }
    )


@pytest.fixture
def load(kafka: FaultyBroker) -> Load:
    return Load(kafka)
