"""Changes in a freeze, on old knowledge, or to everything at once: through correlate, as it knows what holds."""

from typing import Any

import pytest

from pipeline.core.limits import Limits
from schemas.incidents import Incident
from tests.builders import at, event, span
from tests.scenario import incidents

CART = "prod/shop/deployment/cart"
NAMESPACE = "prod/shop/namespace/shop"


def read(seconds: float, **fields: Any) -> dict[str, Any]:
    return span(seconds, **{"access": "read", "target": CART} | fields)


def write(seconds: float, **fields: Any) -> dict[str, Any]:
    return span(
        seconds, **{"tool_name": "apply", "access": "write", "target": CART, "start_time": at(seconds)} | fields
    )


def types(rows: list[dict[str, Any]], limits: Limits | None = None) -> list[str]:
    """What is wrong, by the gaps of the incidents."""
    found: list[Incident] = incidents(rows, limits)
    assert all(incident.kind == "governance_breach" for incident in found)
    return [gap.gap.split(":")[0] for incident in found for gap in incident.governance_gaps]


def window(kind: str, resource: str, **fields: Any) -> dict[str, Any]:
    held = {"valid_from": at(10), "valid_until": at(900), "source": "calendar", "actor": "on-call"}
    return event(0, "window-1", kind, resource, **held | fields)


@pytest.mark.parametrize(("kind", "over"), [("freeze", NAMESPACE), ("maintenance", CART), ("freeze", CART)])
def test_a_change_in_a_published_window_is_a_breach(kind: str, over: str) -> None:
    assert types([window(kind, over), write(60)]) == ["freeze"]
    assert types([window(kind, over), write(5)]) == []
    assert types([window(kind, over), write(901)]) == []
    assert types([window(kind, over), read(60)]) == []
    assert types([window(kind, over, published_time=at(70)), write(60)]) == []


def test_a_window_elsewhere_an_approval_or_the_work_itself_is_no_breach() -> None:
    assert types([window("maintenance", "prod/shop/deployment/pay"), write(60)]) == []
    assert types([window("freeze", CART), write(60, approval="granted")]) == []
    assert types([window("maintenance", CART, actor="agent-1"), write(60)]) == []
    assert types([window("freeze", NAMESPACE), write(60, target="prod/shop/ticket/T-1")]) == []
    allowed = Limits.model_validate({"limits": [{"match": {"target": CART}, "may_change_in_freeze": True}]})
    assert types([window("freeze", CART), write(60)], allowed) == []


def scaled(seconds: float, **fields: Any) -> dict[str, Any]:
    told = {"value": "6", "previous_value": "3", "actor": "user:mo", "actor_kind": "human"}
    return event(seconds, f"scaled-{seconds}", "scale", CART, **told | fields)


STALE = "decision older than the state it was based on"


def test_a_decision_is_stale_when_someone_changed_the_target_after_the_look() -> None:
    assert types([read(10), scaled(20), write(60)]) == [STALE]
    assert types([scaled(5), read(10), write(60)]) == []
    assert types([read(10), scaled(20), read(30), write(60)]) == []
    assert types([read(10), scaled(20), read(30, status="error", tool_name="list"), write(60)]) == [STALE]
    assert types([read(10), write(60), scaled(70)]) == []
    assert types([read(10), scaled(20) | {"resource": "prod/shop/deployment/pay"}, write(60)]) == []


def test_what_the_agent_did_itself_or_knew_does_not_make_its_decision_stale() -> None:
    own = {"actor": "agent-1", "actor_kind": "agent", "session_id": "session-1"}
    assert types([read(10), write(15), scaled(20, **own), write(60)]) == []
    effect = {"actor": "deployment-controller", "actor_kind": "controller"}
    assert types([read(10), write(15), scaled(20, **effect), write(60)]) == []
    assert types([read(10), scaled(20), write(60, expects='{"replicas": 6}')]) == []


def test_a_controller_makes_a_decision_stale_only_where_it_went_by_the_old_value() -> None:
    by = {"actor": "autoscaler", "actor_kind": "controller"}
    assert types([read(10), scaled(20, **by), write(60)]) == []
    assert types([read(10), scaled(20, **by), write(60, expects='{"spec": {"replicas": 3}}')]) == [STALE]


CANARY = Limits.model_validate({"limits": [{"match": {"tool_name": "apply"}, "needs_canary": True}]})


@pytest.mark.parametrize(
    "whole", ['{"percent": 100}', '{"rollout": {"percent": "100%"}}', '{"share": 1.0}', "{}", None, "all of them"]
)
def test_a_roll_out_to_everything_at_once_is_a_breach_until_a_part_was_tried(whole: str | None) -> None:
    assert types([write(60, tool_args=whole)], CANARY) == ["canary"]
    assert types([write(60, tool_args=whole)]) == []
    for part in ('{"percent": 5}', '{"fraction": 0.1}', '{"spec": {"weight": 20}}', '{"canary": true}'):
        assert types([write(10, tool_args=part), write(60, tool_args=whole)], CANARY) == []
    other = write(10, tool_args='{"percent": 5}', target="prod/shop/deployment/pay")
    assert types([other, write(60, tool_args=whole)], CANARY) == ["canary"]


def test_a_failed_first_step_is_none() -> None:
    failed = write(10, tool_args='{"percent": 5}', status="error")
    assert types([failed, write(60, tool_args='{"percent": 100}')], CANARY) == ["canary"]


def test_the_incident_names_the_fact_and_says_what_happened() -> None:
    (incident,) = incidents([window("freeze", CART), write(60)])
    assert incident.title == (
        "agent-1 goes past a limit: apply on cart ran during a freeze of cart, until 2026-03-02T14:15:00Z"
    )
    assert {item.event_id for item in incident.evidence} == {"span-60", "window-1"}
    assert incident.scope == "prod/shop"
