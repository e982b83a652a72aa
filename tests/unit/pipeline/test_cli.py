"""The command line: quick help, one-sentence errors, exit codes."""

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from alerts.rules import SHIPPED
from pipeline.cli import main, parser
from tests.builders import span

COMMANDS = [("demo",), ("run",), ("publish",), ("backtest",), ("incidents", "list"), ("incidents", "show"),
            ("incidents", "timeline"), ("incidents", "ack"), ("incidents", "mark"), ("silence", "add"), ("silence", "list"),
            ("silence", "expire"), ("roundup",), ("replay",), ("rules", "check"), ("rules", "test"), ("rules", "backtest"), ("setup",), ("doctor",)]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([*words, "--help"])
    assert ended.value.code == 0
    assert "usage: aftermath" in capsys.readouterr().out


def test_help_does_not_import_what_only_a_command_needs() -> None:
    code = "import sys, pipeline.cli; print([m for m in ('polars', 'faust', 'pydantic', 'rich') if m in sys.modules])"
    began = perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert perf_counter() - began < 5


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def loop(number: int = 8) -> list[dict[str, Any]]:
    return [span(4 * i, span_id=f"s{i}", tool_args={"id": 7}, result_digest="same") for i in range(number)]


def test_backtest_writes_signals_incidents_and_revisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lines(tmp_path / "in.jsonl", loop())
    assert main(["backtest", str(source), "--out", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (incident,) = [json.loads(row) for row in (tmp_path / "out/incidents.jsonl").read_text().splitlines()]
    assert document["incidents"] == [incident]
    assert incident["kind"] == "feedback_loop"
    assert incident["started_at"] == "2026-03-02T14:00:00Z"
    signals = [json.loads(row) for row in (tmp_path / "out/signals.jsonl").read_text().splitlines()]
    assert {signal["type"] for signal in signals} == {"feedback_loop.exact"}


def test_backtest_shows_each_incident_in_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lines(tmp_path / "in.jsonl", loop())
    assert main(["backtest", str(source), "--show"]) == 0
    shown = capsys.readouterr().out
    assert "FEEDBACK LOOP" in shown
    assert "Do first" in shown


def test_backtest_against_an_earlier_one_names_what_was_added_and_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = lines(tmp_path / "a.jsonl", loop(4)), lines(tmp_path / "b.jsonl", loop())
    out = str(tmp_path / "out")
    assert main(["backtest", str(first), "--out", out]) == 0
    assert main(["backtest", str(second), "--against", out]) == 1
    assert "removed: none" in capsys.readouterr().out
    assert main(["backtest", str(first), "--against", out]) == 0


def test_a_bad_line_is_named_counted_and_costs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.jsonl"
    rows = [json.dumps(row) for row in loop()]
    source.write_text("\n".join([*rows[:3], "{broken", *rows[3:]]))
    assert main(["backtest", str(source), "--json"]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["counts"]["agent.traces.v1"]["accepted"] == 8
    assert sum(document["bad_lines"].values()) == 1
    assert len(document["incidents"]) == 1


@pytest.mark.parametrize(("words", "code", "says"), [
    (["backtest", "nowhere.jsonl"], 2, "nowhere.jsonl"),
    (["backtest", "{file}", "--limits", "nowhere.yml"], 2, "the limits file is not used"),
    (["run", "--stage", "fly"], 2, "There is no stage 'fly'"),
    (["publish", "{file}", "--speed", "2"], 2, "--speed goes with --recorded"),
    (["rules", "check", "nowhere"], 2, "nowhere"),
])  # fmt: skip
def test_errors_are_one_sentence_and_never_a_traceback(
    words: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = str(lines(tmp_path / "in.jsonl", loop()))
    monkeypatch.chdir(tmp_path)
    assert main([word.replace("{file}", source) for word in words]) == code
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("aftermath: ")
    assert "Traceback" not in error


def test_reading_without_a_demo_or_a_server_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_URL", "http://127.0.0.1:9")
    assert main(["incidents", "list"]) == 3
    assert "ClickHouse does not answer at http://127.0.0.1:9" in capsys.readouterr().err


def test_the_shipped_rules_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check"]) == 0
    assert "their tests pass" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "says"), [
    ("limits: [{match: {agent: x}}]", "limits.0.match.agent"),
    ("limits: [{tokens_per_session: -1}]", "greater than 0"),
    ("a: [", "limits.yml:1: not YAML"),
])  # fmt: skip
def test_a_wrong_limits_file_is_refused_with_its_place(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, limits = lines(tmp_path / "in.jsonl", loop()), tmp_path / "limits.yml"
    limits.write_text(text)
    assert main(["backtest", str(source), "--limits", str(limits)]) == 2
    assert says in capsys.readouterr().err


def test_rules_backtest_names_what_would_be_new_and_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(lines(tmp_path / "in.jsonl", loop(40)))
    mine = tmp_path / "rules"
    mine.mkdir()
    for path in SHIPPED.glob("*.yml"):
        (mine / path.name).write_bytes(path.read_bytes())
    assert main(["rules", "backtest", str(mine), source]) == 0
    shown = capsys.readouterr().out
    assert "  2026-03-02               1      1" in shown
    assert "added: none\nremoved: none" in shown

    text = (mine / "feedback_loop.yml").read_text()
    (mine / "feedback_loop.yml").write_text(text.replace("mode: page", "mode: ticket"))
    assert main(["backtest", source, "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert main(["rules", "backtest", str(mine), str(tmp_path / "out/revisions.jsonl"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["pages_by_day"] == {"2026-03-02": {"before": 1, "after": 0}}
    assert found["alerts_by_rule"] == {"feedback_loop": {"before": 1, "after": 1}}
    (added,), (removed,) = found["added"], found["removed"]
    assert (added["mode"], removed["mode"], added["incident_id"]) == ("ticket", "page", removed["incident_id"])


def test_rules_backtest_goes_by_routes_where_they_are_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(lines(tmp_path / "in.jsonl", loop(40)))
    (tmp_path / "routes.yml").write_text("route: {receiver: nobody_yet, group_wait: 30s}\n")
    words = ["rules", "backtest", str(SHIPPED), source, "--routes", str(tmp_path / "routes.yml")]
    assert main(words) == 0
    assert "added: none" in capsys.readouterr().out


def test_rules_test_says_how_many_tests_each_rule_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "test", str(SHIPPED)]) == 0
    shown = capsys.readouterr().out
    assert "telemetry_gap: 4 tests hold, 2 of them stories" in shown
