"""The rules that come with the project: sound, complete, and one for each incident."""

import re
from typing import get_args

import pytest

from alerts.outbox import Outbox
from alerts.rules import SHIPPED, check_rules, load_rules, require_receivers, sample_incident
from schemas.incidents import SEVERITIES, Kind, Severity

RULES = load_rules(SHIPPED)
README = (SHIPPED / "README.md").read_text()


def test_their_own_tests_hold() -> None:
    assert check_rules(SHIPPED) == []


def test_the_console_is_all_they_need() -> None:
    require_receivers(RULES, {"console"})


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("kind", get_args(Kind))
def test_each_incident_matches_the_rule_of_its_kind_alone(kind: str, severity: Severity) -> None:
    incident = sample_incident({"kind": kind, "severity": severity})
    others = {("feedback_loop", "info"): [], ("resource_exhaustion", "info"): ["resource_running_low"]}
    expected = others.get((kind, severity), [kind])
    assert [one.rule for one in Outbox(RULES).decide(incident)] == expected


def test_agents_page_and_the_rest_are_tickets() -> None:
    assert {rule.id: rule.mode for rule in RULES} == {
        "agent_caused_failure": "page",
        "budget_exhausted_soon": "ticket",
        "feedback_loop": "page",
        "governance_breach": "ticket",
        "infrastructure_failure": "ticket",
        "repeated_incident": "ticket",
        "resource_exhaustion": "page",
        "resource_running_low": "ticket",
        "telemetry_gap": "ticket",
    }


def test_every_runbook_is_there() -> None:
    for rule in RULES:
        assert rule.runbook == f"alerts/rules/README.md#{rule.id}"
        assert f"\n### {rule.id}\n" in README
        assert re.search(rf"^\| `{rule.id}`.*\| {rule.mode} \|$", README, re.MULTILINE)


def test_the_example_of_the_readme_is_a_sound_rule(tmp_path_factory: pytest.TempPathFactory) -> None:
    example, _query, _changed = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    folder = tmp_path_factory.mktemp("rules")
    (folder / "checkout_agents.yml").write_text(example)
    assert check_rules(folder) == []
