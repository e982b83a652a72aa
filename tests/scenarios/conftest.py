"""The demo's story as the whole pipeline stored it: once for all who only ask, and put back what they change."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.embedded import Database
from reports.postmortem.build import build
from reports.postmortem.model import Document
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.client import Client
from tests.abuse.running import run
from tests.databases import drop, migrated


@pytest.fixture(scope="session")
def demo(clickhouse: Database) -> Iterator[Client]:
    """A database of its own with every row of the story, in tables that the migrations made."""
    kept = migrated(clickhouse)

    def keep(client: Client) -> None:
        sql = "SELECT name FROM system.tables WHERE database = {d:String} AND engine LIKE '%MergeTree'"
        for row in client.query(sql, {"d": client.database}):
            if row["name"] != "schema_migrations":
                kept.command(f"INSERT INTO {row['name']} SELECT * FROM {client.database}.{row['name']}")

    with recording_of(story()) as recording:
        run(clickhouse, list(recording.messages()), limits=Path("pipeline/demo/limits.yml"), reading=keep)
    yield kept
    drop(kept)


@pytest.fixture(scope="session")
def postmortems(demo: Client) -> dict[str, Document]:
    """Kind of incident -> the postmortem of the story's one of that kind; nothing else was stored when it was asked."""
    return {item.kind: build(demo, item.incident_id, item.revision) for item in stored.newest(demo, 10)}
