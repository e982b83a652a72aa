"""A migrated database for the tests of a file; what commands find: a broker, and a database of a test's own."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.commands.connection import writing_client
from pipeline.embedded import Database
from sinks.clickhouse.client import Client, connect
from sinks.clickhouse.migrations import migrate
from tests.embedded.environment import point_to
from tests.stages.kafka import Broker


@pytest.fixture(scope="module")
def client(clickhouse: Database) -> Iterator[Client]:
    """Of a database that the tests of one file share."""
    found = connect(clickhouse.url, clickhouse.user, clickhouse.password, f"d_{uuid.uuid4().hex[:12]}")
    migrate(found)
    yield found
    found.command(f"DROP DATABASE {found.database}", use_database=False)
    found.close()


@pytest.fixture
def broker(clickhouse: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Broker]:
    """As commands reach it, in an empty folder."""
    made = Broker()
    monkeypatch.chdir(tmp_path)
    point_to(monkeypatch, made, clickhouse, f"commands_{tmp_path.name}")
    with writing_client() as client:
        migrate(client)
    yield made
    made.close()
