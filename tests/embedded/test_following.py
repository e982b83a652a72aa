"""`tail` and `trail` against the embedded parts."""

import json
from pathlib import Path

import pytest

from alerts.rules import sample_incident
from pipeline.cli import main
from pipeline.commands.tail import since
from pipeline.embedded import Database
from pipeline.following import START
from schemas.codecs.single import encode_incident, encode_record
from schemas.errors import UsageError
from schemas.signals import Fact, Marker, Reduced
from schemas.times import MICROS, parse_time
from schemas.topics import INCIDENTS, SIGNALS
from sinks.clickhouse.rows import incident_frame, raw_frame, timeline_frame
from tests.builders import T0, at, event, frame, span
from tests.databases import migrated
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
CART = "prod-eu/checkout/deployment/cart"


def test_tail_shows_what_is_there_in_order_and_from_now_on_only_what_is_new(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = Broker()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_KAFKA", broker.bootstrap)
    try:
        for second in (40, 10):
            row = Fact(
                tenant="acme", fact_id=f"f{second}", kind="scale", resource=CART, event_time=at(second),
                published_time=at(second), valid_from=at(second), value=str(second),
            )  # fmt: skip
            broker.produce(SIGNALS.name, [encode_record(Reduced("s", at(second), "a", row))], stamp=at(second) // 1000)
        broker.produce(SIGNALS.name, [encode_record(Marker(source="s", pane=T0, run="a", rows=0))], stamp=T0 // 1000)
        told = sample_incident({"incident_id": "i1", "title": "cart failed", "updated_at": "2026-03-02T14:00:20Z"})
        broker.produce(INCIDENTS.name, [encode_incident(told)], stamp=at(20) // 1000)
        assert main(["tail", "--since", "start", "--once"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [text.split()[1].lstrip("»") for text in lines[1:]] == ["scale", "incident", "scale"]
        assert main(["tail", "--once"]) == 0
        assert capsys.readouterr().out == ""
    finally:
        broker.close()


def test_since_takes_lengths_times_and_the_start() -> None:
    now = parse_time("2026-03-02T14:00:00Z")
    assert since(None, now) is None
    assert since("start", now) == START
    assert since("10m", now) == (now - 600 * MICROS) // 1000
    assert since("2026-03-02T13:00:00Z", now) == (now - 3600 * MICROS) // 1000
    with pytest.raises(UsageError, match="10m, 2h, 1d, start"):
        since("yesterday", now)


def test_tail_without_a_broker_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_KAFKA", "127.0.0.1:9")
    monkeypatch.setattr("pipeline.following.TIMEOUT_SECONDS", 0.5)
    assert main(["tail", "--since", "1h"]) == 3
    assert "start it, or set AFTERMATH_KAFKA" in capsys.readouterr().err


@pytest.fixture
def stored(clickhouse: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_URL", clickhouse.url)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_PASSWORD", clickhouse.password)
    client = migrated(clickhouse)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_DATABASE", client.database)
    spans = [
        span(1, operation="chat", requested_by="user:ines", task_type="rightsizing", tool_name=None),
        span(2, span_id="read", tool_name="docs.read", access="read", target="prod-eu/checkout/document/sizing"),
        span(3, span_id="other", session_id="session-2", tool_name="docs.read", access="read", target="elsewhere"),
        span(4, operation="decision", summary="scale out", tool_name=None),
        span(5, operation="approval", approval="granted", approved_by="user:mo", tool_name=None),
        span(6, span_id="change-2", tool_name="scale", access="write", target=CART, tool_args='{"replicas":24}'),
        span(0.5, span_id="change-1", session_id="session-0", tool_name="scale", access="write", target=CART),
        span(6.5, span_id="later", tool_name="docs.read", access="read", target="prod-eu/checkout/document/late"),
        span(100, span_id="phantom", session_id="s3", tool_name="scale", access="write", target=f"{CART}-web"),
        span(100, span_id="unseen", session_id="s4", tool_name="set", access="write", target="site/wp/hook/head"),
        span(6, span_id="change-2", tenant="globex", tool_name="x", target=CART, requested_by="user:eve"),
    ]
    events = [
        event(7, "e1", "scale", CART, previous_value="6", value="24", actor="deployment-controller"),
        event(8, "e2", "kubernetes", CART, reason="BackOff", severity="warning"),
        event(600, "e3", "scale", CART, previous_value="24", value="6"),
        event(7, "e4", "scale", CART, tenant="globex", value="9"),
    ]
    client.insert_frame(
        "agent_traces", raw_frame("agent_span", frame("agent_span", spans), False, "agent.traces.v1"), "1"
    )
    client.insert_frame(
        "cluster_events", raw_frame("cluster_event", frame("cluster_event", events), False, "cluster.events.v1"), "2"
    )
    evidence = [
        {
            "type": kind,
            "topic": "t",
            "partition": 0,
            "offset": 1,
            "event_id": name,
            "event_time": at(second),
            "shows": says,
        }
        for kind, name, second, says in (("action", "change-2", 6, "the change"), ("symptom", "e2", 8, "BackOff"))
    ]
    found = sample_incident(
        {
            "incident_id": "i1", "tenant": "acme", "title": "cart failed", "evidence": evidence, "session_ids": [],
            "detected_at": "2026-03-02T14:00:10Z", "updated_at": "2026-03-02T14:00:10Z", "resolved_at": None,
        }
    )  # fmt: skip
    client.insert_frame("incidents", incident_frame([found]), "3")
    client.insert_frame("incident_timeline", timeline_frame([found]), "4")
    client.close()


def links(capsys: pytest.CaptureFixture[str], what: str) -> dict[str, list[str]]:
    assert main(["trail", what, "--json"]) == 0
    found: dict[str, list[str]] = {}
    for link in json.loads(capsys.readouterr().out)["links"]:
        found.setdefault(link["link"], []).append(link["id"])
    return found


def test_trail_gives_the_chain_of_a_change_and_of_nobody_else(stored: None, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {
        "asked": ["span-1"], "read": ["read"], "believed": ["span-4"], "decided": ["span-4"], "approval": ["span-5"],
        "called": ["change-2"], "effect": ["e1"], "followed": ["e2", "opened"],
    }  # fmt: skip
    assert links(capsys, "change-2") == wanted
    assert links(capsys, CART) == wanted


def test_trail_of_a_resource_names_the_changes_before(stored: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trail", CART]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{CART} · change-2 · 2026-03-02, UTC")
    assert "Earlier changes of it (1):\n  2026-03-02 14:00:00  agent-1 scale  change-1" in said
    assert main(["trail", "change-1"]) == 0
    said = capsys.readouterr().out
    assert "— not recorded: no span of the session says who asked" in said
    assert "— none was asked for" in said


@pytest.mark.parametrize(("what", "says"), [("phantom", "not observed"), ("unseen", "cannot decide")])
def test_an_effect_that_nobody_told_of_is_missing_only_where_the_cluster_spoke_afterwards(
    stored: None, capsys: pytest.CaptureFixture[str], what: str, says: str
) -> None:
    assert main(["trail", what]) == 0
    assert f"Effect     — {says}" in capsys.readouterr().out
    assert main(["trail", what, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["effect_can_be_told"] is (says == "not observed")


def test_trail_of_what_is_not_there_or_not_one_says_what_to_do(
    stored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trail", "a/b/c/d"]) == 2
    assert "No agent's change of the resource 'a/b/c/d' is stored" in capsys.readouterr().err
    assert main(["trail", "change"]) == 2
    assert "More than one change has a span id that begins with 'change'" in capsys.readouterr().err
