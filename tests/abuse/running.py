"""A whole pipeline on the embedded parts, given what a test plays into it; and what came out everywhere."""

import asyncio
import io
import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.app import Pipeline
from pipeline.embedded import Database
from pipeline.player import Message, Player, readers
from pipeline.settings import Settings
from schemas.codecs.single import decode
from schemas.errors import Outcome
from schemas.topics import DEAD_LETTERS, INCIDENTS
from sinks.clickhouse.client import Client
from sinks.clickhouse.writer import Writer
from tests.databases import drop, migrated
from tests.stages.kafka import Broker

DRAIN_SECONDS = 150.0  # a few on a quiet machine; only whoever hangs, or runs beside much else, takes longer
BORN = 1_772_460_000_000_000  # stamps of messages that say nothing of time; 2026-03-02T14:00:00Z


@dataclass(slots=True)
class Ran:
    """What one run left behind. `rows` has every column of every table."""

    rows: dict[str, list[dict[str, Any]]]
    schema: list[tuple[str, str]]
    pages: str
    counts: Mapping[str, Mapping[Outcome, int]]
    incidents: list[bytes]
    dead_letters: list[dict[str, Any]]
    was_clean: bool
    extra: dict[str, Any] = field(default_factory=dict)


def run(
    database: Database,
    messages: Sequence[Message],
    *,
    limits: Path | None = None,
    before: Callable[[Broker], None] = lambda broker: None,
    after: Callable[[Broker], Any] = lambda broker: None,
    reading: Callable[[Client], Any] = lambda client: None,
) -> Ran:
    """Play messages in the order of their stamps through all stages; `reading` may ask the database before it goes. Raises what a stage failed with."""
    broker = Broker()
    try:
        before(broker)
        settings = Settings(
            kafka=broker.bootstrap,
            group_prefix=f"abuse-{uuid.uuid4().hex[:8]}",
            recorded=True,
            commit_interval_seconds=0.1,
            snapshot_seconds=0.5,
            limits_file=limits,
        ).model_copy(update={"session_timeout_seconds": 2})
        client = migrated(database)
        try:
            ran = asyncio.run(_run(settings, client, sorted(messages, key=lambda item: item[3])))
            ran.incidents = broker.values(INCIDENTS.name)
            ran.dead_letters = [decode(value)[1] for value in broker.values(DEAD_LETTERS.name)]
            ran.extra["after"] = after(broker)
            ran.extra["read"] = reading(client)
            return ran
        finally:
            drop(client)
    finally:
        broker.close()


async def _run(settings: Settings, client: Client, messages: Iterable[Message]) -> Ran:
    pages = io.StringIO()

    def writer() -> Writer:
        return Writer(client, time.sleep, random.random, attempts=1)

    pipeline = Pipeline(settings, writer=writer, console=pages)
    try:
        await pipeline.start()
        await pipeline.ready()
        player = Player(
            settings.kafka_connection, pane=settings.pane, lateness=settings.lateness, readers=readers(settings.group)
        )
        await asyncio.to_thread(player.play, messages)
        await pipeline.drain(DRAIN_SECONDS)
        pipeline.check()
        counts = pipeline.counters
    finally:
        was_clean = await pipeline.stop(grace=5)
    rows, schema = await asyncio.to_thread(contents, client)
    return Ran(rows, schema, pages.getvalue(), counts, [], [], was_clean)


def contents(client: Client, *, final: bool = False) -> tuple[dict[str, list[dict[str, Any]]], list[tuple[str, str]]]:
    """Every row of every table, and the statement that made each table and view. final: without the rows that a merge,
    which may come at any time, takes away."""
    made = client.query(
        "SELECT name, engine, create_table_query FROM system.tables WHERE database = {d:String} ORDER BY name",
        {"d": client.database},
    )
    rows = {
        item["name"]: client.query(
            f"SELECT * FROM {item['name']} {'FINAL' if final and 'Replacing' in item['engine'] else ''}"
        )
        for item in made
        if item["engine"].endswith("Tree")
    }
    return rows, [(item["name"], item["create_table_query"].replace(client.database, "")) for item in made]


def texts(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """All of it as one text, to look for what must not be there."""
    return "\n".join(f"{table} {row!r}" for table, found in rows.items() for row in found)
