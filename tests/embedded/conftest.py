"""What commands find in their environment: a broker and a migrated database of a test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.commands.connection import writing_client
from pipeline.embedded import Database
from sinks.clickhouse.migrations import migrate
from tests.embedded.environment import point_to
from tests.stages.kafka import Broker


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
