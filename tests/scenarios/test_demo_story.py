"""The story that the demo plays, against its expected outcome in pipeline/demo/expected.json."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alerts.comparison import compare
from alerts.outbox import Outbox
from alerts.rehearsal import rehearse
from alerts.rules.files import SHIPPED, load_rules
from pipeline.backtest import Backtest
from pipeline.cli import main
from pipeline.demo.healthy import all_events
from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.limits import load_limits
from schemas.errors import Outcome
from schemas.incidents import Incident
from schemas.times import parse_time

GOLDEN = Path(__file__).parent / "golden"
DEMO = Path("pipeline/demo")
EXPECTED = json.loads((DEMO / "expected.json").read_text())
BY_NAME = {incident["name"]: incident for incident in EXPECTED["incidents"]}
CHANGE, LOOP, NODE = BY_NAME["partly informed change"], BY_NAME["loop"], BY_NAME["sick node"]


def replay(events: Iterable[Mapping[str, Any]], limits: bool = True) -> Backtest:
    backtest = Backtest(load_limits(DEMO / "limits.yml") if limits else None)
    with recording_of(events) as recording:
        for chunk in recording.chunks():
            backtest.read(chunk)
    backtest.finish()
    return backtest


def golden(name: str, text: str) -> None:
    """What is said, against what was read; UPDATE_GOLDEN=1 writes it anew."""
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


@pytest.fixture(scope="module")
def played() -> Backtest:
    return replay(all_events())


@pytest.fixture(scope="module")
def found(played: Backtest) -> dict[str, Incident]:
    return {incident.kind: incident for incident in played.outcomes.incidents}


def test_there_are_exactly_three_incidents_and_healthy_traffic_has_none(played: Backtest) -> None:
    seen = [(incident.tenant, incident.kind) for incident in played.outcomes.incidents]
    assert sorted(seen) == sorted((item["tenant"], item["kind"]) for item in EXPECTED["incidents"])
    read = {topic: counts[Outcome.LATE] + counts[Outcome.REJECTED] for topic, counts in played.outcomes.counts.items()}
    assert set(read.values()) == {0}


def test_the_partly_informed_change_is_the_agents(found: dict[str, Incident]) -> None:
    incident = found["agent_caused_failure"]
    assert incident.attribution.verdict == CHANGE["verdict"]
    assert incident.attribution.probability >= CHANGE["probability_at_least"]
    assert (incident.scope, incident.agent_id, incident.agent_version) == (
        CHANGE["scope"], CHANGE["agent_id"], CHANGE["agent_version"],
    )  # fmt: skip
    assert list(incident.session_ids) == CHANGE["session_ids"]
    first = incident.attribution.ranked[0]
    assert (first.span_id, first.resource) == (CHANGE["cause"]["span_id"], CHANGE["cause"]["resource"])
    assert first.event_time == parse_time(CHANGE["cause"]["event_time"])
    assert incident.started_at == parse_time(CHANGE["symptoms_from"])


def test_both_facts_are_context_gaps_and_the_missing_approval_is_a_governance_gap(found: dict[str, Incident]) -> None:
    incident = found["agent_caused_failure"]
    gaps = {(gap.event_id, gap.resource, gap.source, gap.class_) for gap in incident.context_gaps}
    assert gaps == {(g["event_id"], g["resource"], g["source"], g["class"]) for g in CHANGE["context_gaps"]}
    assert [gap.gap.split(":")[0] for gap in incident.governance_gaps] == CHANGE["governance_gaps"]


def test_without_the_agents_action_the_verdict_flips() -> None:
    incidents = replay(story(without_action=True)).outcomes.incidents
    (failure,) = [incident for incident in incidents if incident.scope == "prod-eu/checkout"]
    assert failure.attribution.verdict != "agent"
    assert failure.agent_id is None


def test_with_an_equal_deploy_at_the_same_moment_it_is_shared_or_undetermined() -> None:
    incidents = replay(story(equal_deploy=True)).outcomes.incidents
    (failure,) = [incident for incident in incidents if incident.scope == "prod-eu/checkout"]
    assert failure.attribution.verdict in ("shared", "undetermined")


def test_the_loop_is_found_within_a_minute_of_its_fifth_repetition(found: dict[str, Incident]) -> None:
    incident = found["feedback_loop"]
    assert (incident.agent_id, incident.scope, list(incident.session_ids)) == (
        LOOP["agent_id"], LOOP["scope"], LOOP["session_ids"],
    )  # fmt: skip
    assert parse_time(LOOP["fifth_repetition_at"]) <= incident.detected_at <= parse_time(LOOP["detected_by"])
    assert incident.status == "resolved"
    assert incident.attribution.verdict == LOOP["verdict"]


def test_its_waste_is_stated_in_calls_and_tokens(found: dict[str, Incident]) -> None:
    waste = found["feedback_loop"].exhaustion
    assert waste is not None
    assert waste.unplanned_tokens == LOOP["unplanned_tokens"]["exact"]
    percent = LOOP["calls_percent_of_expected"]
    assert percent["at_least"] <= waste.calls_percent_of_expected <= percent["at_most"]


def test_the_token_burn_joins_the_loop_and_the_missing_step_limit_is_named(
    played: Backtest, found: dict[str, Incident]
) -> None:
    burns = [signal for signal in played.outcomes.signals if signal.type == "token_burn.session"]
    assert burns
    assert all(signal.session_id in found["feedback_loop"].session_ids for signal in burns)
    gaps = {gap.gap.split(":")[0] for gap in found["feedback_loop"].governance_gaps}
    assert set(LOOP["governance_gaps"]) <= gaps
    assert "token budget" in gaps


def test_the_sick_node_is_nobodys_fault(found: dict[str, Incident]) -> None:
    incident = found["infrastructure_failure"]
    assert (incident.attribution.verdict, incident.agent_id, incident.session_ids) == ("infrastructure", None, ())
    assert incident.scope in NODE["scope_is_one_of"]
    resources = {item.resource for item in incident.blast_radius}
    assert {NODE["cause"]["resource"], *NODE["blast_radius_includes"]} <= resources
    text = incident.model_dump_json()
    assert not [bystander for bystander in NODE["bystanders"] if bystander in text]


def test_one_page_each_for_the_first_two_and_a_ticket_for_the_third(played: Backtest) -> None:
    outbox = Outbox(load_rules(SHIPPED))
    sent = []
    for revision in played.outcomes.revisions:
        for notification in outbox.decide(revision):
            sent.append((notification.transition, notification.mode, notification.incident_id))
            outbox.record(replace(notification, state="sent"))
    kinds = {incident.incident_id: incident.kind for incident in played.outcomes.incidents}
    firing = sorted((kinds[incident], mode) for transition, mode, incident in sent if transition == "firing")
    assert firing == [("agent_caused_failure", "page"), ("feedback_loop", "page"), ("infrastructure_failure", "ticket")]
    assert sorted(kinds[incident] for transition, _, incident in sent if transition == "resolved") == sorted(
        kinds.values()
    )


def test_a_rule_that_pages_for_everything_is_seen_before_it_wakes_anyone(played: Backtest) -> None:
    """What `aftermath rules backtest` says of a change to the rules, on this story."""
    louder = [rule.model_copy(update={"mode": "page"}) for rule in load_rules(SHIPPED)]
    revisions = played.outcomes.revisions
    before = rehearse(load_rules(SHIPPED), revisions)
    assert compare(before, rehearse(load_rules(SHIPPED), revisions)).is_same
    found = compare(before, rehearse(louder, revisions))
    assert list(found.pages_by_day.values()) == [(2, 3)]
    assert [one.rule for one in found.added] == ["infrastructure_failure"]


def test_the_command_shows_which_pages_a_change_of_the_rules_adds_and_takes(
    played: Backtest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`aftermath rules backtest` as it is used before rules are changed; the golden text holds what on-call hears now."""
    revisions = tmp_path / "revisions.jsonl"
    revisions.write_text("".join(f"{one.model_dump_json(by_alias=True)}\n" for one in played.outcomes.revisions))
    changed, silent = tmp_path / "changed", tmp_path / "silent"
    for folder in (changed, silent):
        shutil.copytree(SHIPPED, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__", "README.md"))
    for path in silent.iterdir():
        path.write_text(
            path.read_text().replace("\nmode: page", "\nmode: shadow").replace("\nmode: ticket", "\nmode: shadow")
        )
    loud = changed / "infrastructure_failure.yml"
    loud.write_text(loud.read_text().replace("mode: ticket", "mode: page"))
    (changed / "feedback_loop.yml").unlink()

    def said(*words: str, status: int) -> str:
        assert main(["rules", "backtest", *words, "--against", str(SHIPPED)]) == status
        return capsys.readouterr().out.replace(str(SHIPPED), "alerts/rules")

    same = said(str(SHIPPED), str(revisions), status=0)
    assert "added: none\nremoved: none" in same
    golden("rules_backtest.txt", said(str(changed), str(revisions), status=1))
    assert main(["rules", "backtest", str(SHIPPED), str(revisions), "--against", str(silent)]) == 1
    golden("rules_in_force.txt", capsys.readouterr().out.replace(str(silent), "none"))


def test_without_a_limits_file_the_incidents_have_the_same_ids(played: Backtest) -> None:
    bare = replay(story(), limits=False).outcomes.incidents
    assert [incident.incident_id for incident in bare] == [i.incident_id for i in played.outcomes.incidents]
