"""What commands read of their environment, pointed to the embedded broker and database."""

import pytest

from pipeline.embedded import Database
from tests.stages.kafka import Broker


def point_to(monkeypatch: pytest.MonkeyPatch, broker: Broker, clickhouse: Database, database: str) -> None:
    """Until the end of the test; the database need not be there yet."""
    monkeypatch.setenv("AFTERMATH_KAFKA", broker.bootstrap)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_URL", clickhouse.url)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_PASSWORD", clickhouse.password)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_DATABASE", database)
