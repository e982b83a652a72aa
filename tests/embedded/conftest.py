"""A migrated database for the tests of a file; what commands find: a broker, and a database of a test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.embedded import Database
from sinks.clickhouse.client import Client
from tests.databases import drop, migrated
from tests.embedded.environment import point_to
from tests.stages.kafka import Broker


@pytest.fixture(scope="module")
def client(clickhouse: Database) -> Iterator[Client]:
    """Of a database that the tests of one file share."""
    found = migrated(clickhouse)
    yield found
    drop(found)


@pytest.fixture
def broker(clickhouse: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Broker]:
    """As commands reach it, in an empty folder."""
    made = Broker()
    monkeypatch.chdir(tmp_path)
    client = migrated(clickhouse)
    point_to(monkeypatch, made, clickhouse, client.database)
    yield made
    drop(client)
    made.close()
