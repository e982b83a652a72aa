"""The demo as a script runs it: real Faust stages, an embedded broker and ClickHouse, one JSON document."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import INPUTS

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(240)]


def aftermath(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        cwd=folder, env={"PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def live(folder: Path) -> dict[str, Any]:
    done = aftermath(folder, "demo", "--exit", "--json")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def backtest(folder: Path) -> dict[str, dict[str, Any]]:
    assert aftermath(folder, "demo", "--save", "saved").returncode == 0
    files = sorted(str(path) for path in (folder / "saved").glob("*.jsonl"))
    done = aftermath(folder, "backtest", *files, "--limits", "saved/limits.yml", "--out", "found")
    assert done.returncode == 0, done.stderr
    rows = map(json.loads, (folder / "found/incidents.jsonl").read_text().splitlines())
    return {row["incident_id"]: row for row in rows}


def bare(incident: dict[str, Any]) -> dict[str, Any]:
    """Without where in the log the evidence stands."""
    evidence = [{k: v for k, v in item.items() if k not in ("partition", "offset")} for item in incident["evidence"]]
    return incident | {"evidence": evidence}


def test_the_document_has_what_a_script_needs(live: dict[str, Any]) -> None:
    assert live.keys() == {"incidents", "notifications", "counts", "seconds"}
    assert sum(live["seconds"].values()) < 60 * 2  # twice what it may take, for a busy machine


def test_live_and_backtest_give_the_same_incidents(live: dict[str, Any], backtest: dict[str, dict[str, Any]]) -> None:
    found = {incident["incident_id"]: bare(incident) for incident in live["incidents"]}
    assert found == {name: bare(incident) for name, incident in backtest.items()}
    assert len(found) == 3


def test_every_message_has_one_of_the_five_outcomes(live: dict[str, Any], folder: Path, backtest: object) -> None:
    rows = {
        "agent.traces.v1": "agent_spans", "system.metrics.v1": "metric_points", "cluster.events.v1": "cluster_events",
    }  # fmt: skip
    assert live["counts"].keys() == {topic.name for topic in INPUTS}
    for topic, name in rows.items():
        counts = live["counts"][topic]
        assert set(counts) == {"accepted", "dropped", "late", "rejected", "failed"}
        events = len((folder / f"saved/{name}.jsonl").read_text().splitlines())
        ticks = sum(counts.values()) - events
        assert counts["late"] == counts["rejected"] == counts["failed"] == 0
        assert ticks >= 0
        assert ticks % 4 == 0, "each partition gets the same ticks"


def test_each_incident_is_told_once_and_its_end_too(live: dict[str, Any]) -> None:
    kinds = {incident["incident_id"]: incident["kind"] for incident in live["incidents"]}
    told = sorted((kinds[n["incident_id"]], n["mode"], n["transition"], n["state"]) for n in live["notifications"])
    assert told == [
        ("agent_caused_failure", "page", "firing", "sent"),
        ("agent_caused_failure", "page", "resolved", "sent"),
        ("feedback_loop", "page", "firing", "sent"),
        ("feedback_loop", "page", "resolved", "sent"),
        ("infrastructure_failure", "ticket", "firing", "sent"),
        ("infrastructure_failure", "ticket", "resolved", "sent"),
    ]


def test_evidence_points_into_the_log(live: dict[str, Any]) -> None:
    places = [(e["topic"], e["partition"], e["offset"]) for i in live["incidents"] for e in i["evidence"]]
    assert all(partition in range(4) and offset >= 0 for _, partition, offset in places)
    assert len({partition for _, partition, _ in places}) > 1


def test_nothing_is_left_behind(live: dict[str, Any], backtest: object, folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [".aftermath", "found", "saved"]
    assert list((folder / ".aftermath").iterdir()) == []
