"""`aftermath replay`: the stored story through the operators again, beside what the live run stored of it."""

import json
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.embedded import Database
from sinks.clickhouse.client import Client

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
