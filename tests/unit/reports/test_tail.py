"""The live timeline shows each row once, in order, and an incident again only where it says more."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules import sample_incident
from reports.table import timeline_line
from reports.tail import AGAIN_AFTER, Shown, Tail, Wanted, line
from schemas.arguments import LONGEST
from schemas.incidents import Incident
from schemas.signals import Action, Fact, Gap, Signal
from schemas.times import format_time
from tests.builders import at

CART = "prod-eu/checkout/deployment/cart"


def action(second: float, **fields: Any) -> Action:
    given_fields = {
        "tenant": "acme", "trace_id": "t", "span_id": f"s{second}", "session_id": "run-1", "agent_id": "capacity-agent",
        "operation": "execute_tool", "access": "write", "start_time": at(second), "end_time": at(second + 1),
        "status": "ok", "tool_name": "kubernetes.scale", "target": CART,
    }  # fmt: skip
    return Action(**given_fields | fields)


def fact(second: float, kind: str = "scale", **fields: Any) -> Fact:
    when = at(second)
    given_fields = {
        "tenant": "acme", "fact_id": f"f{second}", "kind": kind, "resource": CART, "event_time": when,
        "published_time": when, "valid_from": when,
    }  # fmt: skip
    return Fact(**given_fields | fields)


def signal(second: float, **fields: Any) -> Signal:
    given_fields = {
        "signal_id": f"g{second}", "type": "symptom.metric", "tenant": "acme", "window_start": at(second - 5),
        "window_end": at(second), "detected_at": at(second), "resource": CART, "summary": "latency of cart rose",
    }  # fmt: skip
    return Signal(**given_fields | fields)


def incident(second: float, **fields: Any) -> Incident:
    given_fields = {"incident_id": "0123456789abcdef", "revision": int(second), "updated_at": format_time(at(second))}
    return sample_incident(given_fields | fields)


def test_each_kind_of_row_is_one_line_that_says_who_did_what_where() -> None:
    rows: list[Shown] = [
        action(60, tool_args='{"replicas":24}', approval="requested"),
        fact(62, previous_value="6", value="24", actor="deployment-controller", message="Scaled up"),
        fact(1, "dependency", value="prod-eu/checkout/statefulset/cart-db"),
        signal(90),
        signal(95, type="feedback_loop.exact", agent_id="seo-agent", scope="site-12/wordpress", summary="5 rounds"),
        Gap(source="agent.traces.v1/2", pane=at(100)),
        incident(120, status="open", severity="critical", title="cart failed"),
    ]
    assert Tail().lines(rows[::-1]) == [
        "-- 2026-03-02, UTC",
        "14:00:01  dependency  deployment/cart depends on prod-eu/checkout/statefulset/cart-db",
        "14:01:00  action      capacity-agent: kubernetes.scale on cart (replicas 24) -> ok, approval requested",
        "14:01:02  scale       deployment/cart 6 -> 24 by deployment-controller: Scaled up",
        "14:01:30  symptom     latency of cart rose [prod-eu/checkout]",
        "14:01:35  signal      seo-agent: 5 rounds [site-12/wordpress]",
        "14:01:40  silent      nothing comes from agent.traces.v1/2 any more: what follows is provisional",
        "14:02:00 »incident    01234567 critical open, undetermined: cart failed",
    ]


def test_a_warning_of_kubernetes_names_the_pod_it_is_about() -> None:
    pod = "prod-eu/checkout/pod/cart-6996dd565b-mddj2"
    told = line(signal(1, type="symptom.crash_loop", agent_id=None, resource=pod, summary="BackOff x3", scope=None))
    assert told.endswith("cart-6996dd565b-mddj2: BackOff x3 [prod-eu/checkout]")
    row = {"event_time": datetime(2026, 3, 2, 14, tzinfo=UTC), "type": "symptom", "resource": pod, "shows": "BackOff"}
    assert timeline_line(row) == "2026-03-02 14:00:00  symptom      cart-6996dd565b-mddj2: BackOff"
    rose = row | {"shows": "latency of cart-6996dd565b-mddj2 rose to 2 s"}
    assert timeline_line(rose).endswith("symptom      latency of cart-6996dd565b-mddj2 rose to 2 s")


def test_long_arguments_are_cut_and_control_characters_taken_out() -> None:
    shown = Tail().lines([action(1, tool_args="x" * 500 + "\x1b[2J", agent_id="a\x1b]0;owned\x07\n")])[1]
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert f"({'x' * (LONGEST - 1)}…) -> ok" in shown


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        (Wanted(), {"action", "scale", "symptom", "incident"}),
        (Wanted(scope="prod-eu"), {"action", "scale", "symptom", "incident"}),
        (Wanted(scope="prod-eu/checkout"), {"action", "scale", "symptom", "incident"}),
        (Wanted(scope="prod-eu/check"), set()),
        (Wanted(scope="prod-us"), set()),
        (Wanted(agent="capacity-agent"), {"action", "incident"}),
        (Wanted(agent="capacity-agent", scope="prod-us"), set()),
    ],
)
def test_only_what_is_wanted_is_shown_and_a_silent_source_always(wanted: Wanted, seen: set[str]) -> None:
    rows: list[Shown] = [
        action(1), fact(2), signal(3), Gap(source="s", pane=at(4)),
        incident(5, scope="prod-eu/checkout", agent_id="capacity-agent", blast_radius=[]),
    ]  # fmt: skip
    lines = Tail(wanted).lines(rows)
    assert {text.split()[1].lstrip("»") for text in lines[1:]} == seen | {"silent"}


def test_an_incident_is_shown_again_when_it_says_more_or_after_a_while() -> None:
    tail = Tail()
    grows = AGAIN_AFTER // 1_000_000
    for second, fields, is_shown in (
        (100, {}, True),
        (105, {"title": "it grew"}, False),
        (110, {"severity": "critical"}, True),
        (115, {"severity": "critical", "provisional": True}, True),
        (120, {"severity": "critical", "provisional": True}, False),
        (115 + grows, {"severity": "critical", "provisional": True}, True),
        (120 + grows, {"severity": "critical", "status": "resolved"}, True),
        (125 + grows, {"severity": "critical"}, True),  # reopened
    ):
        row = incident(second, **{"status": "open", "severity": "warning"} | fields)
        assert bool(tail.lines([row])[-1:] == [line(row)]) is is_shown, second


@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=20))
def test_in_whatever_order_and_however_often_rows_come_each_is_shown_once(order: list[int], again: list[int]) -> None:
    rows: list[Shown] = [action(1), action(2), fact(3), fact(4), signal(5), signal(6)]
    rows += [action(7), fact(8), signal(9), Gap(source="s", pane=at(10)), incident(11), fact(12)]
    tail = Tail()
    lines = tail.lines([rows[place] for place in (*order, *again)])
    assert lines[1:] == [line(row) for row in rows]
    assert tail.lines([rows[place] for place in again]) == []
