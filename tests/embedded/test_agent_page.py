"""What the live page says of one agent, and of who is held: from rows in ClickHouse alone."""

import polars as pl
import pytest

from alerts.rules.samples import sample_incident
from schemas.controls import Control, ended, with_id
from schemas.times import MINUTE
from schemas.usage import COLUMNS, KEY, SUMS, usage_of
from sinks.clickhouse.client import Client
from sinks.clickhouse.rows import control_frame, incident_frame, usage_frame
from web.reading import agent, held, overview

pytestmark = pytest.mark.embedded
NOW = 1_772_460_000_000_000
DAY = 24 * 60 * MINUTE


def used(client: Client, agent_id: str, pane: int, tenant: str = "acme", **calls: int) -> None:
    """So many calls of each tool."""
    rows = [
        dict.fromkeys(KEY)
        | {"agent_id": agent_id, "operation": "execute_tool", "tool_name": tool, "target": "eu/a/deployment/cart"}
        | dict.fromkeys(SUMS, 0)
        | {"calls": number, "output_tokens": 10 * number}
        for tool, number in calls.items()
    ]
    usage = usage_of(tenant, pane, "agent.traces.v1/0", pl.DataFrame(rows, schema=COLUMNS))
    client.insert_frame("agent_usage", usage_frame([usage]), f"{tenant} {agent_id} {pane}")


def test_drift_is_said_of_what_moved_beyond_chance_and_not_of_little(client: Client) -> None:
    used(client, "agent_moved", NOW - 8 * DAY, read=9_000)  # too old to count
    used(client, "agent_moved", NOW - 2 * DAY, read=950, write=50)
    used(client, "agent_moved", NOW - MINUTE, read=100, write=100)
    found = {row["measure"]: row for row in agent(client, "acme", "agent_moved", NOW, NOW)["drift"]}
    assert set(found) == {"tools", "places"}
    assert (found["tools"]["now"], found["tools"]["before"]) == (200, 1_000)
    assert found["tools"]["is_beyond_chance"]
    assert found["tools"]["moved"] > found["tools"]["bound"] == 0.05
    assert {"name": "read", "before": 0.95, "now": 0.5} in found["tools"]["most"]
    assert not found["places"]["is_beyond_chance"]
    assert found["places"]["most"][0]["name"] == "eu/a"

    used(client, "agent_new", NOW - MINUTE, read=99)
    (tools, _) = sorted(
        agent(client, "acme", "agent_new", NOW, NOW)["drift"], key=lambda row: row["measure"], reverse=True
    )
    assert (tools["moved"], tools["now"], tools["before"], tools["needed"]) == (None, 99, 0, 100)


def test_two_tenants_with_an_agent_of_one_name_see_their_own(client: Client) -> None:
    used(client, "shared", NOW - MINUTE, read=7)
    used(client, "shared", NOW - MINUTE, tenant="globex", read=2)
    for tenant, calls in (("acme", 7), ("globex", 2)):
        found = agent(client, tenant, "shared", NOW, NOW)
        assert [row["calls"] for row in (*found["tools"], *found["versions"])] == [calls, calls]
    listed = overview(client, NOW, NOW, lambda tenant, _: 100 if tenant == "acme" else None)["agents"]
    assert {(row["tenant"], row["calls"], row["budget"]) for row in listed if row["agent_id"] == "shared"} == {
        ("acme", 7, 100),
        ("globex", 2, None),
    }


def test_what_an_agent_burns_stands_beside_its_usual_hour_and_what_it_used_today(client: Client) -> None:
    midnight = NOW - NOW % DAY
    used(client, "burns", NOW - MINUTE, read=30)
    used(client, "burns", midnight, read=1)
    used(client, "burns", midnight - MINUTE, read=5)
    for hour, calls in enumerate((1, 2, 9), start=30):
        used(client, "burns", NOW - hour * 60 * MINUTE, read=calls)
    (row,) = [row for row in overview(client, NOW, NOW, lambda *_: None)["agents"] if row["agent_id"] == "burns"]
    assert (row["tokens"], row["today"]) == (300, 310)
    assert row["usual"] == 20, "the median of its active hours of the week before: 10, 10, 20, 50, 90"


def test_limits_hit_are_counted_over_its_incidents_that_were_not_withdrawn(client: Client) -> None:
    gap = {"component": "site-12", "failure_point": "no step limit", "gap": "step limit: none"}
    incidents = [
        sample_incident(
            {"incident_id": name, "tenant": "acme", "agent_id": "agent_1", "status": status, "started_at": NOW + place}
            | {"governance_gaps": [gap]}
        )
        for place, (name, status) in enumerate((("i_1", "open"), ("i_2", "resolved"), ("i_3", "withdrawn")))
    ]
    client.insert_frame("incidents", incident_frame(incidents), "limits hit")
    (found,) = agent(client, "acme", "agent_1", NOW, NOW)["limits"]
    assert (found["component"], found["gap"], found["times"]) == ("site-12", "step limit: none", 2)
    assert (found["incident_id"], found["failure_point"]) == ("i_2", "no step limit")
    assert agent(client, "acme", "agent_2", NOW, NOW)["limits"] == []


def test_held_is_the_newest_control_of_each_key_that_is_in_force(client: Client) -> None:
    def pause(agent_id: str, at: int, minutes: int | None, **more: str) -> Control:
        until = None if minutes is None else at + minutes * MINUTE
        fields = {"tenant": "acme", "agent_id": agent_id, "author": "user:kim", "reason": "it loops"}
        return with_id(Control(**fields, action="pause", at=at, until=until, **more))  # type: ignore[arg-type]

    resumed = pause("resumed", NOW - 2 * MINUTE, 10)
    controls = [
        pause("held", NOW - MINUTE, 10),
        pause("held", NOW - MINUTE, None, tool_name="wp.write"),
        pause("ran out", NOW - 20 * MINUTE, 10),
        pause("not yet", NOW + MINUTE, 10),
        resumed,
        ended(resumed, author="user:mo", reason="mended", at=NOW - MINUTE),
    ]
    client.insert_frame("controls", control_frame(controls), "held")
    found = held(client, NOW)
    assert sorted(one["about"] for one in found) == ["held", "held tool wp.write"]
    assert {one["until_ms"] for one in found} == {(NOW + 9 * MINUTE) // 1000, None}


def test_what_is_open_comes_by_severity_and_owner_and_the_loud_are_never_left_out(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ones = [
        ("a", "info", "shop", 3),
        ("b", "critical", "web", 0),
        ("c", "critical", "shop", 1),
        ("d", "critical", "shop", 2),
    ]
    made = [
        sample_incident(
            {
                "incident_id": name,
                "severity": severity,
                "owner": owner,
                "status": "open",
                "started_at": NOW + later * MINUTE,
            }
        )
        for name, severity, owner, later in ones
    ]
    client.insert_frame("incidents", incident_frame(made), "open ones")
    monkeypatch.setattr("web.reading.MOST_INCIDENTS", 3)
    found = overview(client, NOW + DAY, NOW + DAY, lambda *_: None)
    assert [(one["severity"], one["owner"], one["id"]) for one in found["open"]] == [
        ("critical", "shop", "d"),
        ("critical", "shop", "c"),
        ("critical", "web", "b"),
    ]


def test_a_source_that_is_silent_is_told_of(client: Client) -> None:
    gap = {"incident_id": "gap", "kind": "telemetry_gap", "status": "open", "severity": "critical", "started_at": NOW}
    made = sample_incident(gap | {"title": "no data from agent.traces.v1/2", "scope": "agent.traces.v1/2"})
    client.insert_frame("incidents", incident_frame([made]), "a silent source")
    assert overview(client, NOW + DAY, NOW + DAY, lambda *_: None)["silent"] == [
        {"id": "gap", "scope": "agent.traces.v1/2", "title": "no data from agent.traces.v1/2"}
    ]
