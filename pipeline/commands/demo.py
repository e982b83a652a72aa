"""`aftermath demo`: broker, ClickHouse and all stages in this process; plays the story, then stays up for queries.

stdout is for the reader (or the one JSON document); logs go to stderr. The seconds of each phase are measured.
"""

import argparse
import asyncio
import io
import json
import logging
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.app import Pipeline
from pipeline.clock import monotonic, now_micros
from pipeline.commands.terminal import terminal
from pipeline.demo.healthy import all_events
from pipeline.demo.recording import recording_of
from pipeline.embedded import (
    embedded_broker,
    embedded_database,
    embedded_settings,
    remove_connection_file,
    write_connection_file,
)
from pipeline.embedded.connection_file import DEFAULT_PATH
from pipeline.embedded.database import Database
from pipeline.player import Player, readers
from pipeline.recording import Recording
from pipeline.settings import Settings, load_settings
from pipeline.web_page import WebPage
from reports.incident import clock, render
from reports.table import incident_list
from schemas.errors import UsageError
from schemas.incidents import Incident
from schemas.topics import ALL
from sinks.clickhouse import incidents as stored
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client, connect
from sinks.clickhouse.writer import Writer

LIMITS = Path(__file__).parent.parent / "demo" / "limits.yml"
DRAIN_SECONDS = 120.0
FILES = {"agent_span": "agent_spans", "metric_point": "metric_points", "cluster_event": "cluster_events"}
RETRY_SECONDS = 0.2
MOST_WIDTH = 110
LOOK_SECONDS = 0.2


@dataclass(slots=True)
class Story:
    """What came of it."""

    incidents: list[Incident] = field(default_factory=list)
    notifications: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    messages: int = 0


def run(args: argparse.Namespace) -> int:
    """Play, print, stay until Ctrl-C on a terminal."""
    if args.save is not None:
        return save(args.save, args.seed)
    is_script = args.json
    if is_script:
        logging.getLogger().setLevel(logging.WARNING)
    stays = not (args.exit or is_script) and sys.stdout.isatty()
    screen = Console(file=io.StringIO()) if is_script else terminal()
    return asyncio.run(_demo(args, screen, stays=stays))


def save(folder: Path, seed: int) -> int:
    """The story's input as JSON lines, a file a type, and the limits that are in force."""
    events = all_events(seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for record, name in FILES.items():
            with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(
                    json.dumps(event, ensure_ascii=False) + "\n" for event in events if event["type"] == record
                )
        shutil.copyfile(LIMITS, folder / "limits.yml")
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}; name a folder for --save") from error
    print(f"{len(events):,} events written to {folder}: {', '.join(f'{name}.jsonl' for name in FILES.values())}")
    print(f"Replay them without Kafka: aftermath backtest {folder}/*.jsonl --limits {folder}/limits.yml --out found")
    return 0


async def _demo(args: argparse.Namespace, screen: Console, *, stays: bool) -> int:
    story = Story()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    screen.print("Starting a Kafka broker, ClickHouse and five stages in this process …")
    with _phase(story, "start"):
        recording = await asyncio.to_thread(lambda: recording_of(all_events(args.seed)))
    with recording, embedded_broker(ALL) as kafka, embedded_database() as database:
        client = await asyncio.to_thread(_migrated, database)
        write_connection_file(DEFAULT_PATH, kafka, database)
        page: WebPage | None = None
        try:
            settings = _settings(kafka, database)
            page = WebPage(settings, args.web, now_micros) if stays else None
            if page is not None:
                await page.start()
                screen.print(f"Watch it: {page.url}\n")
            with _progress(screen, len(recording)) as progress:
                await _play(args, story, settings, recording, client, progress, told)
            if args.json:
                print(json.dumps(_document(story), ensure_ascii=False))
            else:
                _print(story, screen)
            if stays and not told.is_set():
                _say_next(screen, story, database, page.url if page else None)
                await told.wait()
            elif not args.json:
                _say_next(screen, story, database, None)
        finally:
            if page is not None:
                await page.stop()
            remove_connection_file(DEFAULT_PATH)
            client.close()
    return 130 if told.is_set() and not stays else 0


def _migrated(database: Database) -> Client:
    client = connect(database.url, database.user, database.password)
    migrations.migrate(client)
    return client


def _settings(kafka: str, database: Database) -> Settings:
    return load_settings(
        **embedded_settings(kafka, database),
        recorded=True,
        limits_file=LIMITS,
        rules_dir=None,
        receivers={"console": {"kind": "console"}},
        instance="",
        commit_interval_seconds=0.1,
        snapshot_seconds=0.5,  # the player stays near what is committed, and that is what a snapshot holds
    )


def _by_time(incident: Incident) -> tuple[int, str]:
    return incident.started_at, incident.incident_id


@contextmanager
def _phase(story: Story, name: str) -> Iterator[None]:
    began = monotonic()
    try:
        yield
    finally:
        story.seconds[name] = round(monotonic() - began, 3)


class Shown:
    """The progress bars, and a stream whose text appears above them: that is where pages are printed."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._sent = progress.add_task("published", total=total, says="")
        self._read = progress.add_task("read on   ", total=1, says="", visible=False)
        self._most = 1
        self.stream: Any = _Above(progress.console.print)

    def update(self, event_time: int, messages: int, _: int) -> None:
        """Called by the player, from its thread."""
        self._progress.update(
            self._sent, completed=messages, says=f"{messages:,} events, story time {clock(event_time)}"
        )

    def waiting(self, messages: int) -> None:
        """So many messages are still to be read by a stage."""
        self._most = max(self._most, messages)
        says = f"{messages:,} messages wait for a stage"
        self._progress.update(self._read, total=self._most, completed=self._most - messages, says=says, visible=True)

    def done(self) -> None:
        """Everything was read through."""
        self.waiting(0)


async def _watch(pipeline: Pipeline, progress: Shown) -> None:
    while True:
        progress.waiting(sum(stage.lag() for stage in pipeline.stages.values()))
        await asyncio.sleep(LOOK_SECONDS)


class _Above(io.TextIOBase):
    def __init__(self, show: Callable[..., None]) -> None:
        self._show = show

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def write(self, text: str) -> int:
        self._show(text, end="", markup=False, highlight=False, soft_wrap=True)
        return len(text)


@contextmanager
def _progress(screen: Console, total: int) -> Iterator[Shown]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        TextColumn("{task.fields[says]}"),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        yield Shown(progress, total)


async def _play(
    args: argparse.Namespace,
    story: Story,
    settings: Settings,
    recording: Recording,
    client: Client,
    progress: Shown,
    told: asyncio.Event,
) -> None:
    def writer() -> Writer:
        waits = threading.Event()
        return Writer(
            client, sleep=lambda seconds: waits.wait(min(seconds, RETRY_SECONDS)), random=random.random, attempts=1
        )

    with _phase(story, "join"):
        pipeline = Pipeline(settings, writer=writer, console=progress.stream)
        await pipeline.start()
        await pipeline.ready()
    try:
        with _phase(story, "play"):
            player = Player(
                settings.kafka_connection,
                pane=settings.pane,
                lateness=settings.lateness,
                readers=readers(settings.group),
                speed=args.speed,
                progress=progress.update,
                should_stop=lambda: told.is_set() or pipeline.error is not None,
            )
            played = await asyncio.to_thread(player.play, recording.messages())
            pipeline.check()
            story.messages = played.messages
        with _phase(story, "drain"):
            watching = asyncio.create_task(_watch(pipeline, progress))
            try:
                await pipeline.drain(DRAIN_SECONDS)
            finally:
                watching.cancel()
            progress.done()
        story.counts = {
            topic: {str(outcome): number for outcome, number in counts.items()}
            for topic, counts in pipeline.counters.items()
        }
        with _phase(story, "query"):
            story.incidents = await asyncio.to_thread(lambda: sorted(stored.newest(client, 1000), key=_by_time))
            story.notifications = await asyncio.to_thread(
                client.query, "SELECT * FROM notifications FINAL ORDER BY at, dedup_key"
            )
    finally:
        with _phase(story, "stop"):
            await pipeline.stop()


def _document(story: Story) -> dict[str, Any]:
    return {
        "incidents": [incident.model_dump(mode="json") for incident in story.incidents],
        "notifications": [{name: _plain(value) for name, value in row.items()} for row in story.notifications],
        "counts": story.counts,
        "seconds": story.seconds,
    }


def _plain(value: Any) -> Any:
    with suppress(AttributeError):
        return value.isoformat().replace("+00:00", "Z")
    return value


def _print(story: Story, screen: Console) -> None:
    seconds = sum(story.seconds[name] for name in ("play", "drain") if name in story.seconds)
    screen.print(
        f"\n{story.messages:,} events in {seconds:.1f} s; {len(story.incidents)} incidents, as ClickHouse has them:\n"
    )
    screen.print(incident_list(story.incidents, min(MOST_WIDTH, screen.width)))
    if story.incidents:
        shown = next((i for i in story.incidents if i.kind == "agent_caused_failure"), story.incidents[0])
        screen.print(render(shown, min(MOST_WIDTH, screen.width)), markup=False, highlight=False, soft_wrap=True)


def _say_next(screen: Console, story: Story, database: Database, page: str | None) -> None:
    """page: the live page, of a demo that stays up."""
    first = story.incidents[0].incident_id[:8] if story.incidents else "ID"
    sql = "SELECT title, verdict, unplanned_tokens FROM aftermath.incidents FINAL FORMAT PrettyCompact"
    lines = [
        "",
        "Try next, in a second terminal here:"
        if page
        else "To query it, run `make demo` on a terminal: it stays up. Then:",
        f"  curl '{database.url}/' --user '{database.analyst}:{database.analyst_password}' --data \"{sql}\"",
        f"  .venv/bin/aftermath incidents show {first}",
        f"  .venv/bin/aftermath incidents timeline {first}",
    ]
    if page:
        lines.insert(1, f"  {page}   the live page")
        lines.append("Ctrl-C ends it; everything here is gone then.")
    screen.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
