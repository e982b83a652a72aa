"""A01, A02: what one tenant says of another's resource, and of the future, changes nothing for the other."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pipeline.core.limits import Limit, Limits, Match
from pipeline.demo.story import story
from schemas.errors import Outcome
from schemas.incidents import Incident
from schemas.times import MINUTE, parse_time
from tests.builders import decoded
from tests.scenario import incidents, replay

DAY = 24 * 3600 * 1_000_000
YEARS = 3650 * DAY


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """The story of one tenant, as rows with times in microseconds."""
    found = []
    for told in story():
        row = {name: value for name, value in told.items() if name != "ingest_time"}
        for name in ("event_time", "start_time", "published_time", "valid_from", "valid_until"):
            if row.get(name) is not None:
                row[name] = parse_time(row[name])
        found.append(row)
    return found


def of_tenant(rows: Sequence[Mapping[str, Any]], tenant: str) -> list[dict[str, Any]]:
    """The newest revision of each incident, without where its evidence stands in the log."""
    return bare(incidents(rows), tenant)


def bare(found: Sequence[Incident], tenant: str) -> list[dict[str, Any]]:
    """Those of a tenant, without where their evidence stands in the log."""
    bared = [incident.model_dump(mode="json") for incident in found if incident.tenant == tenant]
    for incident in bared:
        for item in incident["evidence"]:
            item["offset"] = 0
    return sorted(bared, key=lambda incident: str(incident["incident_id"]))


def rival(row: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {**row, "tenant": "rival", **changes}


def test_a_tenant_that_acts_on_anothers_resources_is_no_cause_there(rows: list[dict[str, Any]]) -> None:
    (tenant,) = {row["tenant"] for row in rows}
    expected = of_tenant(rows, tenant)
    assert len(expected) == 3
    writes = [row for row in rows if row["type"] == "agent_span" and row.get("target")]
    facts = [row for row in rows if row["type"] == "cluster_event"]
    attack = [rival(row, agent_id="rival-agent", access="write") for row in writes] + [rival(row) for row in facts]
    found = of_tenant([*rows, *attack], tenant)
    assert found == expected
    assert "rival" not in repr(found)


def test_a_tenant_with_a_slash_in_its_name_is_not_the_one_before_the_slash(rows: list[dict[str, Any]]) -> None:
    (tenant,) = {row["tenant"] for row in rows}
    expected = of_tenant(rows, tenant)
    attack = [{**row, "tenant": f"{tenant}/{row['session_id']}"} for row in rows if row["type"] == "agent_span"]
    assert of_tenant([*rows, *attack], tenant) == expected


def test_an_agent_over_its_quota_is_said_and_nothing_of_it_is_dropped_or_holds_up_the_others(
    rows: list[dict[str, Any]],
) -> None:
    """Its quota is a budget of `limits.yml`: what is over it is flagged. The flood is twice all that the story has."""
    (tenant,) = {row["tenant"] for row in rows}
    plain = next(row for row in rows if row["type"] == "agent_span" and row.get("tool_name"))
    began = max(row["event_time"] for row in rows) - 10 * MINUTE
    number = 2 * sum(row["type"] == "agent_span" for row in rows)
    flood = [
        {
            **plain,
            **{"tenant": "rival", "agent_id": "flooder", "session_id": f"flood-{call % 50}", "trace_id": f"flood-{call % 50}"},
            **{"span_id": f"flood-{call}", "parent_span_id": None, "tool_args": f'{{"n":{call}}}', "args_digest": None},
            **{"target": None, "access": "read", "start_time": None, "status": "ok"},
            "event_time": began + call * 8 * MINUTE // number,
        }
        for call in range(number)
    ]  # fmt: skip
    quota = Limits(limits=(Limit(match=Match(agent_id="flooder"), calls_per_day=number // 4),))
    alone, flooded = replay(rows, quota), replay([*rows, *flood], quota)
    assert bare(flooded.outcomes.incidents, tenant) == bare(alone.outcomes.incidents, tenant)
    said = [incident for incident in flooded.outcomes.incidents if incident.agent_id == "flooder"]
    assert any(incident.kind == "resource_exhaustion" and "calls" in incident.title for incident in said), said
    assert all(incident.detected_at <= began + 8 * MINUTE for incident in said), "while it lasts"
    counted = flooded.outcomes.counts["agent.traces.v1"]
    assert counted[Outcome.ACCEPTED] == alone.outcomes.counts["agent.traces.v1"][Outcome.ACCEPTED] + number


@pytest.mark.parametrize("shift", [YEARS, -YEARS])
def test_events_of_another_time_move_nothing_for_the_others(rows: list[dict[str, Any]], shift: int) -> None:
    """Stamps are the broker's: an event time ten years ahead, or ago, moves no watermark."""
    (tenant,) = {row["tenant"] for row in rows}
    spans = [row for row in rows if row["type"] == "agent_span"]
    normal = decoded("agent_span", spans)
    shifted = [rival(row, event_time=row["event_time"] + shift, start_time=None) for row in spans]
    from pipeline.core.panes import Lateness, TimeRules

    alone = Lateness(TimeRules()).judge(normal.frame, normal.newest_ingest_time)
    mixed = normal.frame.vstack(
        decoded("agent_span", shifted).frame.with_columns(ingest_time=normal.frame["ingest_time"])
    ).sort("ingest_time", maintain_order=True)
    judged = Lateness(TimeRules()).judge(mixed, normal.newest_ingest_time)
    is_theirs = mixed["tenant"] == "rival"
    assert judged.is_late.filter(~is_theirs).to_list() == alone.is_late.to_list()
    assert judged.is_late.filter(is_theirs).all()
    assert tenant != "rival"
