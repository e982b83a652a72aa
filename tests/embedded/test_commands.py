"""Commands that operate: setup, doctor, reading and publishing, against the embedded parts."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from alerts.rules.samples import sample_incident
from pipeline.cli import main
from pipeline.embedded import Database
from pipeline.settings import STAGE_NAMES
from schemas.oncall import Acknowledgement
from sinks.clickhouse import rows
from sinks.clickhouse.client import connect
from tests.builders import event, span
from tests.databases import migrated
from tests.embedded.environment import point_to
from tests.embedded.foreign_files import REPEATED
from tests.embedded.test_clickhouse import incident
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded


@pytest.fixture
def configured(clickhouse: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Settings that point to a broker and to a database of its own in the embedded ClickHouse."""
    broker = Broker()
    monkeypatch.chdir(tmp_path)
    point_to(monkeypatch, broker, clickhouse, "commands")
    yield broker.bootstrap
    broker.close()


def test_setup_creates_what_is_missing_once_and_doctor_is_content(
    configured: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup", "--check"]) == 1
    assert "Run `aftermath setup`" in capsys.readouterr().out
    assert main(["setup"]) == 0
    assert "0001_raw_events.sql" in capsys.readouterr().out
    assert main(["setup"]) == 0
    assert "none, all there" in capsys.readouterr().out
    assert main(["setup", "--check"]) == 0
    assert main(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(check["check"], check["level"]) for check in checks if not check["check"].startswith("group ")] == [
        ("settings", "ok"), ("defaults", "ok"), ("packages", "ok"), ("limits", "ok"),
        ("alert rules", "ok"), ("routes", "ok"), ("owners", "ok"), ("heartbeat", "warn"), ("receiver console", "warn"),
        ("Kafka", "ok"),
        ("topics", "ok"), ("ClickHouse", "ok"), ("clock", "ok"), ("migrations", "ok"),
    ]  # fmt: skip
    groups = [check for check in checks if check["check"].startswith("group ")]
    assert len(groups) == len(STAGE_NAMES)
    assert all("nothing waits" in group["says"] for group in groups)
    assert main(["incidents", "list"]) == 0
    assert "No incidents." in capsys.readouterr().out
    assert main(["incidents", "mark", "9c0e", "useful"]) == 2
    assert "There is no incident '9c0e'" in capsys.readouterr().err


def test_a_mark_can_be_taken_back_and_counts_for_its_rule(
    configured: str, clickhouse: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = migrated(clickhouse)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_DATABASE", client.database)
    found = incident("acme", incident_id="9c0e5b7d1a2f4e38")
    client.insert_frame("incidents", rows.incident_frame([found]), "i")
    told = {"dedup_key": "k", "incident_id": found.incident_id, "rule": "r", "tenant": "acme", "transition": "firing"}
    client.insert_frame("notifications", pl.DataFrame([{**told, "mode": "page", "state": "sent"}]), "n")
    for mark in ("noise", "useful"):
        assert main(["incidents", "mark", "9c0e", mark, "--by", "user:mo"]) == 0
        assert f"9c0e5b7d1a2f4e38 is marked as {mark}." in capsys.readouterr().out
        sql = "SELECT useful, noise, acted_on FROM pages_by_rule"
        assert client.query(sql) == [{"useful": mark == "useful", "noise": mark == "noise", "acted_on": 1}]
    client.close()


def test_doctor_says_of_each_part_that_is_down_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_KAFKA", "127.0.0.1:9")
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_PASSWORD", "canary-4711")
    assert main(["doctor"]) == 3
    shown = capsys.readouterr()
    assert "TODO Kafka" in shown.out
    assert "start it, or set AFTERMATH_KAFKA" in shown.out
    assert "TODO ClickHouse" in shown.out
    assert "canary-4711" not in shown.out + shown.err


def test_publish_sends_files_as_live_events_and_as_a_recording(
    configured: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.jsonl"
    made = [span(0), span(0.2, span_id="b"), event(0.1, "e", "flag", "prod/shop/flag/f")]
    path.write_text("".join(json.dumps(row) + "\n" for row in made) + "{broken\n")
    for words in (["publish", str(path)], ["publish", str(path), "--recorded"]):
        assert main(words) == 0
        shown = capsys.readouterr()
        assert "3 events published (2 to agent.traces.v1, 1 to cluster.events.v1)" in shown.out
        assert "1 bad lines left out" in shown.err


def test_publish_and_backtest_take_the_files_of_others_by_their_content(
    configured: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """OTLP as the Collector's file exporter writes it, Langfuse's export, Claude Code's own; equal calls, twelve and one.

    Live events happen at the speed they had, so that only the file of one call is published as such.
    """
    for kind, make in REPEATED.items():
        live, whole = tmp_path / f"{kind}-live.jsonl", tmp_path / f"{kind}.jsonl"
        for path, documents in ((live, make(1)), (whole, make(12))):
            path.write_text("".join(json.dumps(one) + "\n" for one in documents))
        for words in (["publish", str(live)], ["publish", str(whole), "--recorded"]):
            assert main(words) == 0
            assert "events published" in capsys.readouterr().out, words
        assert main(["backtest", str(whole), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [incident["kind"] for incident in found["incidents"]] == ["feedback_loop"], kind


def test_a_silence_is_added_listed_and_expired(configured: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "silence",
        "add",
        'scope="prod/shop"',
        "--for",
        "2h",
        "--comment",
        "a move",
        "--by",
        "kim",
        "--tenant",
        "acme",
    ]
    assert main(words) == 0
    name = capsys.readouterr().out.strip()
    assert main(["silence", "list", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["silence_id"], found["state"], found["matchers"]) == (name, "active", ['scope="prod/shop"'])
    assert (found["created_by"], found["comment"], found["tenant"]) == ("kim", "a move", "acme")
    assert main(["silence", "expire", name[:5]]) == 0
    assert main(["silence", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "No silences."
    assert main(["silence", "list", "--expired"]) == 0
    assert f"{name}  over" in capsys.readouterr().out
    assert main(["silence", "expire", name]) == 2
    assert "was over at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["scope"], "is no matcher"),
        (['a=~"("'], "not a regular expression"),
        (["a=b", "--for", "0s"], "at most 90 days"),
        (["a=b", "--for", "91d"], "at most 90 days"),
        (["a=b", "--comment", " "], "Say why"),
    ],
)
def test_a_silence_that_is_none_is_refused(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["silence", "add", "--for", "1h", "--comment", "x", *words]) == 2
    assert says in capsys.readouterr().err


def test_an_incident_is_acknowledged_and_others_see_who_has_it(
    configured: str, clickhouse: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup"]) == 0
    client = connect(clickhouse.url, password=clickhouse.password, database="commands")
    incident = sample_incident({"incident_id": "i1", "tenant": "acme", "title": "cart is down", "owner": "checkout"})
    client.insert_frame("incidents", rows.incident_frame([incident]), "t1")
    capsys.readouterr()
    assert main(["incidents", "ack", "i1", "--by", "kim", "--comment", "scaling back", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    word = Acknowledgement(**said)
    assert (word.tenant, word.acknowledged_by, word.comment) == ("acme", "kim", "scaling back")
    client.insert_frame("acknowledgements", rows.acknowledgement_frame([word]), "t2")
    client.insert_frame("incident_timeline", rows.acknowledged_frame([word]), "t3")
    client.close()
    assert main(["incidents", "show", "i1"]) == 0
    assert "team checkout; acknowledged by kim at" in capsys.readouterr().out
    assert main(["incidents", "timeline", "i1"]) == 0
    assert "acknowledged by kim: scaling back" in capsys.readouterr().out
    assert main(["incidents", "ack", "nothing"]) == 2


def test_doctor_names_the_line_of_a_wrong_route(
    configured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "routes.yml").write_text("route:\n  receiver: nobody\n")
    monkeypatch.setenv("AFTERMATH_ROUTES_FILE", str(tmp_path / "routes.yml"))
    assert main(["doctor"]) != 0
    assert "routes.yml:2: nobody is not configured; configured: console" in capsys.readouterr().out
