"""Rules that act: which control an incident leads to, and when a rule keeps its hands off."""

from typing import Any

import pytest
from pydantic import ValidationError

from alerts.controls import RuleAction, decide
from alerts.rules.model import Rule
from alerts.rules.samples import sample_incident
from schemas.controls import Control
from schemas.incidents import Incident
from schemas.times import MINUTE, format_time
from tests.builders import at, span
from tests.scenario import incidents

RULE = {
    "id": "looping", "title": "An agent is looping", "when": {"kind": "feedback_loop"}, "mode": "page",
    "runbook": "alerts/rules/README.md", "owner": "on-call", "action": {"pause": "10m", "mode": "enforce"},
}  # fmt: skip


def rule(**action: Any) -> Rule:
    return Rule.model_validate(RULE | {"action": {"pause": "10m", "mode": "enforce", **action}})


def incident(second: float, *, seen: float | None = None, **fields: Any) -> Incident:
    """A revision of `second` whose newest evidence is of `seen`."""
    evidence = {
        "type": "signal", "topic": "t", "partition": 0, "offset": 0, "event_id": "e", "shows": "repeats",
        "event_time": format_time(at(second if seen is None else seen)), "resource": "site/a/hook/b", "tool_name": "write",
    }  # fmt: skip
    found = {
        "incident_id": "i-1", "tenant": "acme", "kind": "feedback_loop", "status": "open", "agent_id": "seo-agent",
        "agent_version": "7", "title": "seo-agent loops", "updated_at": format_time(at(second)), "evidence": [evidence],
    }  # fmt: skip
    return sample_incident(found | fields)


def known(*controls: Control) -> dict[str, Control]:
    return {control.key: control for control in controls}


def test_it_pauses_the_agent_from_the_revision_on_with_the_incident_as_the_reason() -> None:
    [control] = decide([rule()], incident(30), {})
    assert (control.key, control.action, control.mode) == ("acme/seo-agent/*/*/*", "pause", "enforce")
    assert (control.at, control.until, control.probes) == (at(30), at(30) + 10 * MINUTE, True)
    assert (control.author, control.reason, control.incident_id) == ("rule:looping", "seo-agent loops", "i-1")
    assert decide([rule()], incident(30), {}) == [control]


@pytest.mark.parametrize(
    ("per", "key"),
    [
        ("agent_version", "acme/seo-agent/7/*/*"),
        ("tool", "acme/seo-agent/*/write/*"),
        ("target", "acme/seo-agent/*/*/site/a/hook/b"),
        ("tool_and_target", "acme/seo-agent/*/write/site/a/hook/b"),
    ],
)
def test_it_may_hold_less_than_the_agent(per: str, key: str) -> None:
    [control] = decide([rule(per=per)], incident(30), {})
    assert control.key == key


@pytest.mark.parametrize(
    "fields",
    [{"status": "resolved"}, {"provisional": True}, {"agent_id": None}, {"kind": "telemetry_gap"}],
)
def test_what_is_over_unsure_or_nobodys_pauses_nobody(fields: dict[str, Any]) -> None:
    assert decide([rule()], incident(30, **fields), {}) == []


def test_without_a_version_or_a_target_there_is_nothing_narrower_to_hold() -> None:
    assert decide([rule(per="agent_version")], incident(30, agent_version=None), {}) == []
    for per in ("tool", "target", "tool_and_target"):
        assert decide([rule(per=per)], incident(30, evidence=[]), {}) == []


def test_it_holds_what_most_of_the_evidence_is_about_and_tool_and_target_of_the_same_call() -> None:
    [one] = incident(30).evidence
    calls = [("write", "page/a"), ("write", "page/b"), ("read", "page/c"), ("read", "page/c"), (None, "page/d")]
    said = [
        one.model_copy(update={"event_id": str(number), "tool_name": tool, "resource": target}).model_dump(mode="json")
        for number, (tool, target) in enumerate([*calls, ("write", "page/e"), (None, "page/d"), (None, "page/d")])
    ]
    found = {
        per: decide([rule(per=per)], incident(30, evidence=said), {})[0]
        for per in ("tool", "target", "tool_and_target")
    }
    assert (found["tool"].tool_name, found["tool"].target) == ("write", "*")
    assert (found["target"].tool_name, found["target"].target) == ("*", "page/d")
    assert (found["tool_and_target"].tool_name, found["tool_and_target"].target) == ("read", "page/c")


def test_while_it_holds_it_is_not_given_again_and_after_it_only_for_something_new() -> None:
    [first] = decide([rule()], incident(30), {})
    end = 30 + 600
    assert decide([rule()], incident(end - 1), known(first)) == []
    assert decide([rule()], incident(end + 10, seen=end - 1), known(first)) == []  # late evidence of before
    [again] = decide([rule()], incident(end + 10), known(first))
    assert (again.at, again.until) == (at(end + 10), at(end + 610))


def test_what_a_person_holds_or_has_resumed_is_left_as_it_is() -> None:
    [control] = decide([rule()], incident(30), {})
    halted = Control(tenant="acme", agent_id="seo-agent", action="halt", author="user:mo", reason="mine", at=at(0))
    assert decide([rule()], incident(30), known(halted)) == []
    resumed = Control(
        tenant="acme", agent_id="seo-agent", action="resume", author="user:mo", reason="wanted", at=at(60),
        incident_id=control.incident_id,
    )  # fmt: skip
    assert decide([rule()], incident(90), known(resumed)) == []
    assert len(decide([rule()], incident(90, incident_id="i-2"), known(resumed))) == 1


def test_a_shadow_says_it_and_takes_nothing_down() -> None:
    [shadow] = decide([rule(mode="shadow")], incident(30), {})
    assert not shadow.holds(at(31))
    assert decide([rule(mode="shadow")], incident(40), known(shadow)) == []
    [enforced] = decide([rule()], incident(40), known(shadow))
    assert enforced.holds(at(41))
    assert decide([rule(mode="shadow")], incident(50), known(enforced)) == []


def test_two_rules_of_one_incident_give_one_control() -> None:
    assert len(decide([rule(), Rule.model_validate(RULE | {"id": "other"})], incident(30), {})) == 1


def test_shadow_is_the_default_and_a_span_is_checked() -> None:
    assert RuleAction.model_validate({"pause": "30s"}).mode == "shadow"
    for wrong in ("0m", "10", "soon", True, None):
        with pytest.raises(ValidationError):
            RuleAction.model_validate({"pause": wrong})


def test_the_tool_of_a_loop_is_held_and_no_other_of_the_same_agent() -> None:
    looping = [
        span(
            5 * n, span_id=f"s{n}", agent_id="seo-agent", tool_name="cms.write", target="site/a/hook/b",
            tool_args='{"id": 7}', result_digest="r",
        )
        for n in range(8)
    ]  # fmt: skip
    reads = [span(n - 20, span_id=f"r{n}", agent_id="seo-agent", tool_name="cms.read") for n in range(9)]
    [found] = [one for one in incidents([*looping, *reads]) if one.kind == "feedback_loop"]
    [control] = decide([rule(per="tool_and_target")], found, {})
    assert (control.agent_id, control.tool_name, control.target) == ("seo-agent", "cms.write", "site/a/hook/b")
