"""Who did it, what it did not know, and what broke: failures with an agent, a person or nobody behind them."""

import json
from typing import Any

import pytest

from pipeline.core.limits import Limits
from schemas.incidents import Incident
from tests.builders import at, event, span
from tests.scenario import SETTLE, incidents, replay

CART = "prod/shop/deployment/cart"
DB = "prod/shop/statefulset/cart-db"
POD = "prod/shop/pod/cart-6996dd565b-mddj2"
DB_POD = "prod/shop/pod/cart-db-0"


def depends() -> dict[str, Any]:
    return event(-3600, "dep-1", "dependency", CART, value=DB)


def crash(seconds: float, pod: str = POD, **fields: Any) -> dict[str, Any]:
    return event(
        seconds, f"crash-{pod}-{seconds}", "kubernetes", pod, **{"reason": "BackOff", "severity": "warning"} | fields
    )


def act(seconds: float, **fields: Any) -> dict[str, Any]:
    row = span(
        seconds, span_id=f"act-{seconds}", agent_id="capacity", agent_version="2.1", tool_name="kubernetes.scale",
        access="write", target=CART, tool_args='{"replicas": 24}', approval="granted",
    )  # fmt: skip
    return row | fields


def read(seconds: float, tool: str, target: str | None = None, **fields: Any) -> dict[str, Any]:
    return (
        span(seconds, span_id=f"read-{seconds}", agent_id="capacity", tool_name=tool, access="read", target=target)
        | fields
    )


def deploy(seconds: float, **fields: Any) -> dict[str, Any]:
    return event(seconds, f"deploy-{seconds}", "deploy", CART, **{"actor": "user:mo", "actor_kind": "human"} | fields)


def only(rows: list[dict[str, Any]], settle: int = 0) -> Incident:
    """The failure among the incidents: that an agent acted on an answer that was cut off is one of its own."""
    (found,) = (i for i in incidents([depends(), *rows], settle=settle) if i.kind != "resource_exhaustion")
    return found


def test_a_crash_minutes_after_an_agents_write_is_the_agents() -> None:
    found = only([read(20, "kubectl.get", CART), act(60), crash(240), crash(250, DB_POD)])
    assert found.kind == "agent_caused_failure"
    assert found.attribution.verdict == "agent"
    assert found.attribution.probability >= 0.8
    assert (found.agent_id, found.agent_version, found.session_ids) == ("capacity", "2.1", ("session-1",))
    assert found.attribution.ranked[0].span_id == "act-60"
    assert [(item.resource, item.distance) for item in found.blast_radius] == [(POD, 0), (DB_POD, 1)]
    assert found.severity == "critical"
    assert found.detected_at == at(245)


def test_without_the_action_the_verdict_flips() -> None:
    found = only([read(20, "kubectl.get", CART), crash(240)])
    assert (found.kind, found.attribution.verdict) == ("infrastructure_failure", "infrastructure")
    assert (found.agent_id, found.session_ids) == (None, ())


def test_an_equal_deploy_at_the_same_moment_makes_it_shared() -> None:
    found = only([act(60), deploy(60), crash(240)])
    assert found.attribution.verdict in ("shared", "undetermined")
    assert {candidate.kind for candidate in found.attribution.ranked} == {"agent_action", "deploy"}


def test_a_deploy_that_names_nobody_is_not_taken_for_what_the_scaling_agent_did() -> None:
    found = only([act(60), deploy(60, actor=None, actor_kind=None), crash(240)])
    assert found.attribution.verdict in ("shared", "undetermined")


def test_a_persons_deploy_is_an_infrastructure_failure_with_verdict_change() -> None:
    found = only([deploy(60), crash(240)])
    assert (found.kind, found.attribution.verdict, found.agent_id) == ("infrastructure_failure", "change", None)


@pytest.mark.parametrize("quiet", [
    act(300),  # after the crash
    act(60, target="prod/payments/deployment/pay"),  # another scope
    act(60, tenant="other"),
    act(60, access="read"),
])  # fmt: skip
def test_what_cannot_be_the_cause_is_not_blamed(quiet: dict[str, Any]) -> None:
    found = only([read(20, "kubectl.get", CART), quiet, crash(240)])
    assert found.attribution.verdict == "infrastructure"
    assert found.agent_id is None


def test_the_scale_event_of_the_cluster_is_the_actions_effect_and_no_second_candidate() -> None:
    seen = event(62, "scaled", "scale", CART, actor="deployment-controller", actor_kind="controller", value="24",
                 previous_value="6")  # fmt: skip
    found = only([act(60), seen, crash(240)])
    assert [candidate.kind for candidate in found.attribution.ranked] == ["agent_action"]
    assert "scaled" in {item.event_id for item in found.evidence if item.type == "change"}


def test_ten_harmless_writes_do_not_outweigh_the_one_that_touched_what_failed() -> None:
    others = [act(10 + i, agent_id="clerk", session_id="clerk", target=f"prod/shop/configmap/c{i}") for i in range(10)]
    found = only([*others, act(60), crash(240)])
    assert found.agent_id == "capacity"


def test_a_storm_of_symptoms_in_one_scope_is_one_incident() -> None:
    pods = [crash(240 + i, f"prod/shop/pod/web-{i}a2b3c-x{i:04}") for i in range(40)]
    found = only(pods)
    assert len(found.blast_radius) == 40


def test_failures_in_unrelated_scopes_are_two_incidents() -> None:
    assert len(incidents([crash(240), crash(241, "prod/other/pod/x-0")])) == 2


def test_pods_that_die_with_their_node_are_one_incident_and_nobodys_fault() -> None:
    node = event(240, "oom", "kubernetes", "prod/cluster/node/n7", reason="SystemOOM", severity="warning")
    pod = crash(250, "prod/docs/pod/docs-5d9c7b4f8-abcde", reason="OOMKilling", labels='{"node": "n7"}')
    found = only([node, pod, act(60, target="prod/docs/configmap/x", agent_id="docs")])
    assert found.attribution.verdict == "infrastructure"
    assert found.title.startswith("node n7 failed")


def test_single_weak_symptoms_are_no_incident_and_three_are() -> None:
    weak = [crash(240 + i, f"prod/shop/pod/p{i}", reason="Unhealthy") for i in range(3)]
    assert incidents(weak[:2]) == []
    assert len(incidents(weak)) == 1


def test_it_resolves_when_nothing_more_happens() -> None:
    found = only([crash(240)], settle=SETTLE)
    assert (found.status, found.resolved_at) == ("resolved", at(245 + 300))


def test_an_action_that_ends_after_its_effect_is_found_by_a_revision_of_the_same_incident() -> None:
    rows = [depends(), crash(240), act(300, start_time=at(60), duration_ms=240_000)]
    revisions = replay(rows).outcomes.revisions
    assert len({revision.incident_id for revision in revisions}) == 1
    # before it no trace of any agent had come
    assert [revision.attribution.verdict for revision in revisions] == ["undetermined", "agent"]
    assert revisions[0].revision < revisions[1].revision


# --- context gaps -----------------------------------------------------------------------------------------------------


def maintenance(seconds: float = -600, **fields: Any) -> dict[str, Any]:
    window = {"source": "change-calendar", "valid_until": at(9000), "message": "upgrade"}
    return event(seconds, "mw-1", "maintenance", DB, **window | fields)


def gaps(*rows: dict[str, Any]) -> list[tuple[str, str]]:
    found = only([*rows, act(60), crash(240)])
    return [(gap.event_id, gap.class_) for gap in found.context_gaps]


CALENDAR = "change_calendar.list"


@pytest.mark.parametrize(("rows", "expected"), [
    ([maintenance()], "never_queried"),
    ([maintenance(), read(20, "kubectl.get", DB)], "never_queried"),  # its state does not show a window
    ([maintenance(), read(20, CALENDAR)], "seen_not_used"),
    ([maintenance(30, valid_from=at(30)), read(20, CALENDAR)], "stale_read"),
    ([maintenance(), read(20, CALENDAR, status="error")], "read_failed"),
    ([maintenance(), read(20, CALENDAR),
      span(40, agent_id="capacity", operation="chat", tool_name=None, finish_reason="length")], "dropped"),
    ([maintenance(published_time=at(100))], "unknowable"),
    ([maintenance(), read(20, CALENDAR, session_id="another")], "never_queried"),
    ([maintenance(), span(20, agent_id="capacity", access="read", tool_name=None)], "cannot_tell"),
])  # fmt: skip
def test_each_class_of_context_gap(rows: list[dict[str, Any]], expected: str) -> None:
    assert gaps(*rows) == [("mw-1", expected)]


@pytest.mark.parametrize("fact", [
    maintenance(valid_until=at(30)),  # over before the decision
    maintenance(valid_from=at(90)),  # begins after it
    event(-600, "mw-1", "maintenance", "prod/other/deployment/x", source="change-calendar", valid_until=at(9000)),
    event(-600, "flag-1", "flag", "prod/shop/flag/f", source="flag-service", value="off"),
])  # fmt: skip
def test_what_did_not_hold_or_is_elsewhere_is_no_gap(fact: dict[str, Any]) -> None:
    assert gaps(fact) == []


def test_a_flag_is_ended_by_the_next_value_of_the_same_flag() -> None:
    flags = [
        event(-600 + i, f"flag-{i}", "flag", "prod/shop/flag/f", source="flag-service", value=value)
        for i, value in enumerate(["a", "b"])
    ]
    assert gaps(*flags) == [("flag-1", "never_queried")]


def test_a_fact_the_session_names_was_seen() -> None:
    named = read(20, "docs.read", context_facts=json.dumps([{"event_id": "mw-1"}]))
    assert gaps(maintenance(), named) == [("mw-1", "seen_not_used")]


# --- governance gaps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "words"), [
    ({"approval": "requested"}, ["approval"]),
    ({"approval": "denied"}, ["approval"]),
    ({"approval": "granted"}, []),
    ({"approval": None}, []),
])  # fmt: skip
def test_a_write_whose_approval_was_not_granted_is_a_gap(fields: dict[str, Any], words: list[str]) -> None:
    found = incidents([depends(), read(20, "kubectl.get", CART), act(60, **fields), crash(240)])
    failure = next(incident for incident in found if incident.kind == "agent_caused_failure")
    assert [gap.gap.split(":")[0] for gap in failure.governance_gaps] == words


@pytest.mark.parametrize(("version", "is_gap"), [("2.1", True), ("1.0", False)])
def test_an_approval_is_needed_by_the_version_of_the_agent_that_limits_name(version: str, is_gap: bool) -> None:
    entry = {"match": {"agent_version": "2.*"}, "needs_approval": True}
    limits = Limits.model_validate({"limits": [entry]})
    change = act(60, approval=None, agent_version=version)
    found = incidents([depends(), read(20, "kubectl.get", CART), change, crash(240)], limits)
    failure = next(incident for incident in found if incident.kind == "agent_caused_failure")
    assert ("approval: not asked for, not granted" in {gap.gap for gap in failure.governance_gaps}) is is_gap


@pytest.mark.parametrize(("version", "gaps"), [("2.1", set()), ("1.0", {"step limit: none", "token budget: none"})])
def test_a_limit_that_is_stated_for_a_version_is_missing_for_the_others(version: str, gaps: set[str]) -> None:
    entry = {"match": {"agent_version": "2.*"}, "max_steps": 900, "tokens_per_session": 10**9}
    rows = [
        span(6 * i + part, span_id=f"n{i}-{part}", agent_version=version, **what)
        for i in range(8)
        for part, what in enumerate((
            {"operation": "chat", "tool_name": None, "input_tokens": 1000},
            {"tool_args": '{"id": 7}', "access": "read", "result_digest": "same"},
        ))
    ]  # fmt: skip
    (loop,) = incidents(rows, Limits.model_validate({"limits": [entry]}))
    assert {gap.gap for gap in loop.governance_gaps} == gaps


def test_an_approval_span_grants_what_was_requested() -> None:
    granted = span(
        50, agent_id="capacity", operation="approval", tool_name=None, approval="granted", approved_by="user:mo"
    )
    found = only([read(20, "kubectl.get", CART), granted, act(60, approval="requested"), crash(240)])
    assert found.governance_gaps == ()


def test_a_write_without_a_look_at_its_target_and_during_a_freeze_are_gaps() -> None:
    freeze = event(-60, "fr-1", "freeze", "prod/shop/namespace/shop", source="change-calendar", valid_until=at(900))
    found = only([freeze, act(60), crash(240)])
    assert [gap.gap.split(":")[0] for gap in found.governance_gaps] == ["freeze", "reconnaissance"]


@pytest.mark.parametrize(("entry", "expected"), [
    ({"sources": ["change-calendar"]}, "seen_not_used"),
    ({"sources": ["flag-service"]}, "never_queried"),
    ({"resources": ["prod/shop/*"]}, "seen_not_used"),
    ({"may_show_anything": True}, "cannot_tell"),
])  # fmt: skip
def test_limits_say_which_facts_a_tools_reads_show(entry: dict[str, Any], expected: str) -> None:
    limits = Limits.model_validate({"reads": [{"match": {"tool_name": "ops.*"}} | entry]})
    rows = [depends(), maintenance(), read(20, "ops.check"), act(60), crash(240)]
    (found,) = incidents(rows, limits)
    assert [gap.class_ for gap in found.context_gaps] == [expected]


def test_a_read_that_failed_later_does_not_hide_that_it_worked_before() -> None:
    assert gaps(maintenance(), read(20, CALENDAR), read(30, CALENDAR, status="error")) == [("mw-1", "seen_not_used")]


def test_an_equal_read_while_the_action_ran_leaves_it_open() -> None:
    slow = act(100, start_time=at(60), duration_ms=40_000)
    found = only([maintenance(), read(20, CALENDAR), read(90, CALENDAR), slow, crash(240)])
    assert [gap.class_ for gap in found.context_gaps] == ["cannot_tell"]


def test_a_session_that_read_more_than_is_remembered_cannot_be_told_not_to_have_asked() -> None:
    many = [read(1 + i, f"tool-{i}", CART) for i in range(25)]
    assert gaps(maintenance(), *many) == [("mw-1", "cannot_tell")]


@pytest.mark.parametrize(("resource", "is_listed"), [
    ("prod", True),  # its cluster
    ("prod/data/namespace/data", True),  # the namespace of what it depends on
    ("prod/data/statefulset/other", False),  # a neighbour of what it depends on
    ("prod/web/namespace/web", False),
])  # fmt: skip
def test_a_fact_of_a_place_concerns_what_is_in_it_or_depends_on_it(resource: str, is_listed: bool) -> None:
    base = "prod/data/database/base"
    depends_too = event(-3000, "dep-2", "dependency", CART, value=base)
    assert bool(gaps(depends_too, maintenance() | {"resource": resource})) is is_listed
