"""Commands that operate: setup, doctor, reading and publishing, against the embedded parts."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.embedded import Database
from tests.builders import event, span
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded


@pytest.fixture
def configured(clickhouse: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Settings that point to a broker and to a database of its own in the embedded ClickHouse."""
    broker = Broker()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_KAFKA", broker.bootstrap)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_URL", clickhouse.url)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_PASSWORD", clickhouse.password)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_DATABASE", "commands")
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
    assert [check["check"] for check in checks if check["ok"]] == [
        "settings", "in clear", "packages", "limits", "alert rules", "Kafka", "ClickHouse",
    ]  # fmt: skip
    assert main(["incidents", "list"]) == 0
    assert "No incidents." in capsys.readouterr().out


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
    rows = [span(0), span(0.2, span_id="b"), event(0.1, "e", "flag", "prod/shop/flag/f")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    for words in (["publish", str(path)], ["publish", str(path), "--recorded"]):
        assert main(words) == 0
        shown = capsys.readouterr()
        assert "3 events published (2 to agent.traces.v1, 1 to cluster.events.v1)" in shown.out
        assert "1 bad lines left out" in shown.err
