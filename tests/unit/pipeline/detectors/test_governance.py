"""Limits that a session goes past, and changes without the care that is asked of them."""

from typing import Any

import pytest

from pipeline.core.limits import Limits
from pipeline.detectors import governance, unguarded_change
from schemas.signals import Signal
from tests.builders import closed_rows, frame, run_detector, span

CART = "prod/shop/deployment/cart"


def limits(**values: Any) -> Limits:
    return Limits.model_validate({"version": 4, "limits": [{"match": {"agent_id": "agent-1"}, **values}]})


def governed(spans: list[dict[str, Any]], allowed: Limits | None = None, batches: int = 1) -> list[Signal]:
    size = -(-len(spans) // batches)
    parts = [spans[first : first + size] for first in range(0, len(spans), size)]
    return run_detector(governance, [closed_rows(frame("agent_span", part)) for part in parts], allowed)


def changed(spans: list[dict[str, Any]], allowed: Limits | None = None) -> list[str]:
    found = run_detector(unguarded_change, [closed_rows(frame("agent_span", spans))], allowed)
    return [signal.type.removeprefix("governance.") for signal in found]


def write(seconds: float, **fields: Any) -> dict[str, Any]:
    return span(seconds, **{"tool_name": "apply", "access": "write", "target": CART, "summary": "asked for"} | fields)


def read(seconds: float, **fields: Any) -> dict[str, Any]:
    return span(seconds, **{"access": "read", "target": CART} | fields)


def test_a_step_above_the_limit_is_a_breach_once_a_session() -> None:
    assert governed([span(i, step=i, max_steps=3) for i in range(3)]) == []
    (signal,) = governed([span(i, step=i, max_steps=3) for i in range(6)])
    assert (signal.type, signal.summary) == ("governance.step_limit", "step 4 of at most 3")


def test_the_tighter_of_declared_and_own_step_limit_counts() -> None:
    assert len(governed([span(1, step=3, max_steps=9)], limits(max_steps=2))) == 1
    assert len(governed([span(1, step=3)], limits(max_steps=2))) == 1
    assert len(governed([span(1, step=3, max_steps=2)], limits(max_steps=9))) == 1
    assert governed([span(1, step=2, max_steps=9)], limits(max_steps=2)) == []


@pytest.mark.parametrize("batches", [1, 3, 25])
def test_the_call_above_the_limit_is_a_breach_and_each_doubling(batches: int) -> None:
    spans = [span(i, operation="chat" if i % 2 else "execute_tool") for i in range(25)]
    found = governed(spans, limits(calls_per_session=6), batches)
    assert [signal.details["calls"] for signal in found] == [7, 13, 25]
    assert found[0].summary == "call 7 of at most 6 in this session"
    assert governed(spans[:6], limits(calls_per_session=6), batches) == []


def test_summed_spans_and_other_sessions_are_no_calls_of_a_session() -> None:
    spans = [span(i, operation="invoke_agent") for i in range(5)]
    spans += [span(5 + i, session_id=f"session-{i}") for i in range(5)]
    assert governed(spans, limits(calls_per_session=2)) == []


def test_a_tool_that_is_not_on_the_list_is_a_breach_once_a_session() -> None:
    spans = [span(1, tool_name="shell"), span(2, tool_name="shell"), span(3, tool_name="shell", session_id="session-2")]
    found = governed(spans, limits(allowed_tools=["get*", "list"]))
    assert [signal.session_id for signal in found] == ["session-1", "session-2"]
    assert found[0].summary == "shell is not among the tools this agent may use"
    assert (
        governed([span(1, tool_name="get_logs"), span(2, tool_name="list")], limits(allowed_tools=["get*", "list"]))
        == []
    )
    assert governed([span(1, tool_name="shell", status="error")], limits(allowed_tools=["get*"])) == []
    assert governed([span(1, tool_name="shell", agent_id="agent-2")], limits(allowed_tools=["get*"])) == []


def test_a_denied_call_that_ran_is_a_breach_and_one_that_did_not_run_is_none() -> None:
    assert changed([write(1, approval="denied")]) == ["approval_denied"]
    assert changed([write(1, approval="denied", status="error")]) == []
    assert changed([read(1, approval="denied")]) == []
    asked = span(1, operation="approval", tool_name=None, approval="denied", approved_by="user:mo")
    assert changed([asked, write(2)]) == ["approval_denied"]


@pytest.mark.parametrize("approval", [None, "requested", "not_required"])
def test_a_change_that_needs_an_approval_and_has_none_is_a_breach(approval: str | None) -> None:
    assert changed([write(1, approval=approval)], limits(needs_approval=True)) == ["no_approval"]
    assert changed([write(1, approval=approval)]) == []


def test_an_approval_counts_for_one_change() -> None:
    granted = span(1, operation="approval", tool_name=None, approval="granted", approved_by="user:mo")
    assert changed([granted, write(2)], limits(needs_approval=True)) == []
    assert changed([granted, write(2), write(3)], limits(needs_approval=True)) == ["no_approval"]
    assert changed([write(2, approval="granted")], limits(needs_approval=True)) == []


def test_the_last_entry_that_matches_counts() -> None:
    entries = [{"needs_approval": True}, {"match": {"target": "dev/*"}, "needs_approval": False}]
    allowed = Limits.model_validate({"limits": entries})
    assert changed([write(1)], allowed) == ["no_approval"]
    assert changed([write(1, target="dev/shop/deployment/cart")], allowed) == []


def test_a_write_without_a_look_at_its_target_is_blind() -> None:
    asked = limits(needs_read_first=True)
    assert changed([read(1), write(2)], asked) == []
    assert changed([write(2)], asked) == ["blind_write"]
    assert changed([read(1, target="prod/shop/deployment/pay"), write(2)], asked) == ["blind_write"]
    assert changed([read(1, status="error"), write(2)], asked) == ["blind_write"]
    assert changed([read(1, session_id="session-2"), write(2)], asked) == ["blind_write"]
    assert changed([write(2), read(3)], asked) == ["blind_write"]
    assert changed([write(2, target=None)], asked) == []


def test_where_reads_were_forgotten_nobody_is_called_blind() -> None:
    reads = [read(1 + i, target=f"prod/shop/deployment/d{i}") for i in range(30)]
    assert changed([*reads, write(60)], limits(needs_read_first=True)) == []


def test_a_change_says_why_where_that_is_asked() -> None:
    assert changed([write(1, summary=" ")], limits(needs_summary=True)) == ["no_summary"]
    assert changed([write(1, summary=None)], limits(needs_summary=True)) == ["no_summary"]
    assert changed([write(1)], limits(needs_summary=True)) == []


def test_a_change_of_what_may_not_be_changed_is_a_breach_and_a_read_is_none() -> None:
    asked = limits(allowed_targets=["dev/*"])
    assert changed([write(1)], asked) == ["target_not_allowed"]
    assert changed([read(1), write(2, target="dev/shop/deployment/cart")], asked) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"target": "prod/shop/rolebinding/admin"},
        {"tool_name": "iam.attach_policy"},
        {"tool_name": "grantPermission grant"},
    ],
)
def test_an_agent_that_changes_permissions_unapproved_is_a_breach(fields: dict[str, Any]) -> None:
    assert changed([write(1, **fields)]) == ["permission_change"]
    assert changed([write(1, approval="granted", **fields)]) == []
    assert changed([write(1, status="error", **fields)]) == []
    assert changed([write(1, **fields)], limits(may_change_permissions=True)) == []


def test_a_usual_change_without_limits_is_no_breach() -> None:
    assert changed([write(1, summary=None, approval="requested")]) == []
