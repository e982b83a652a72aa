"""`aftermath replay`: the stored story through the operators again, beside what the live run stored of it."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.embedded import Database
from schemas.topics import ALL
from sinks.clickhouse.client import Client
from tests.abuse.running import contents, run
from tests.stages.kafka import Broker

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]
STORY = ["replay", "--from", "2026-03-02T13:00:00Z", "--to", "2026-03-02T15:00:00Z"]
LIMITS = Path("pipeline/demo/limits.yml").resolve()


@pytest.fixture
def configured(demo: Client, clickhouse: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Client:
    """The reading user's settings: whatever writes would be refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_URL", clickhouse.url)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_USER", clickhouse.analyst)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_PASSWORD", clickhouse.analyst_password)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_DATABASE", demo.database)
    monkeypatch.setenv("AFTERMATH_LIMITS_FILE", str(LIMITS))
    return demo


@pytest.mark.fault("F45")
def test_the_stored_story_gives_the_incidents_of_the_live_run(
    configured: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*STORY, "--out", str(tmp_path / "set"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["events"] == 386 + 2280 + 272
    assert document["against"] == {"added": [], "removed": [], "changed": []}
    stored = configured.query("SELECT incident_id, title FROM incidents FINAL ORDER BY started_at, incident_id")
    assert [(row["incident_id"], row["title"]) for row in document["incidents"]] == [
        tuple(row.values()) for row in stored
    ]
    assert (tmp_path / "set" / "revisions.jsonl").exists()
    assert main([*STORY, "--against", str(tmp_path / "set")]) == 0


def test_other_limits_show_what_they_would_have_changed(
    configured: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = tmp_path / "limits.yml"
    limits.write_text("limits: []\n")
    assert main([*STORY, "--limits", str(limits), "--json"]) == 1
    against = json.loads(capsys.readouterr().out)["against"]
    assert against["changed"] == ["a9891d25aa0beb3e"]  # the loop no longer passes a token budget
    assert (against["added"], against["removed"]) == ([], [])


@pytest.mark.parametrize(
    ("since", "until", "says"),
    [
        ("2026-03-02T15:00:00Z", "2026-03-02T14:00:00Z", "is not before --to"),
        ("yesterday", "2026-03-02T14:00:00Z", "not an RFC 3339 time"),
    ],
)
def test_what_is_no_stretch_of_time_is_refused(
    since: str, until: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "--from", since, "--to", until]) == 2
    assert says in capsys.readouterr().err


class Hook(BaseHTTPRequestHandler):
    """A receiver that only counts."""

    called: list[str] = []  # noqa: RUF012 - of the one test

    def do_POST(self) -> None:
        self.called.append(self.path)
        self.send_response(200)
        self.end_headers()


def everything(client: Client, broker: Broker) -> tuple[Any, dict[str, int], dict[str, list[int]]]:
    """Every row of every table, how many messages each topic has, and what the groups have committed."""
    rows, schema = contents(client, final=True)
    counts = {topic.name: len(broker.values(topic.name)) for topic in ALL}
    groups = ("aftermath.replay", "aftermath.tail", "aftermath")
    return (
        ({table: sorted(map(repr, found)) for table, found in rows.items()}, schema),
        counts,
        {f"{group} {topic}": broker.committed(group, topic) for group in groups for topic in ("agent.traces.v1",)},
    )


def test_replaying_the_log_or_the_tables_finds_the_same_pages_nobody_and_touches_no_live_row(
    clickhouse: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a user who may write, on the broker of the live run, and with a receiver that is there."""
    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    Thread(target=hook.serve_forever, daemon=True).start()
    brokers: list[Broker] = []
    said: dict[str, Any] = {}

    def look(client: Client) -> None:
        (broker,) = brokers
        monkeypatch.chdir(tmp_path)
        for name, value in {
            "KAFKA": broker.bootstrap,
            "CLICKHOUSE_URL": clickhouse.url,
            "CLICKHOUSE_PASSWORD": clickhouse.password,
            "CLICKHOUSE_DATABASE": client.database,
            "LIMITS_FILE": str(LIMITS),
            "RECEIVERS__HOOK__KIND": "webhook",
            "RECEIVERS__HOOK__URL": f"http://127.0.0.1:{hook.server_port}/page",
            "RECEIVERS__HOOK__ALLOW_PRIVATE": "true",
        }.items():
            monkeypatch.setenv(f"AFTERMATH_{name}", value)
        broker.produce("agent.traces.v1", [b"{broken"], stamp=1_772_461_000_000)
        before = everything(client, broker)
        capsys.readouterr()
        for source in ("tables", "kafka"):
            said[f"{source} rc"] = main([*STORY, "--source", source, "--out", str(tmp_path / source), "--json"])
            said[source] = json.loads(capsys.readouterr().out)
            said[f"{source} same"] = everything(client, broker) == before

    try:
        with recording_of(story()) as recording:
            messages = list(recording.messages())
            run(clickhouse, messages, limits=LIMITS, before=brokers.append, reading=look)
    finally:
        hook.shutdown()
        hook.server_close()
    for source, unreadable in (("tables", 0), ("kafka", 1)):
        assert said[source]["against"] == {"added": [], "removed": [], "changed": []}, source
        assert said[f"{source} rc"] == 0
        assert said[source]["events"] == 386 + 2280 + 272
        assert said[source]["unreadable"] == unreadable
        assert said[f"{source} same"]
    assert len(said["kafka"]["incidents"]) == 3
    files = [(tmp_path / source / "incidents.jsonl").read_text() for source in ("tables", "kafka")]
    assert files[0] == files[1]
    assert Hook.called == []
