"""What is written twice, in other batches, late or revised counts once in the views that people read."""

import uuid

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.clickhouse.client import Client

pytestmark = pytest.mark.embedded
HOUR = 3_600_000_000
T0 = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
TIME = pl.Datetime("us", "UTC")
LEDGER = '{{"tools": ["search"], "repetitions": {n}, "ledger": {{"redundant_calls": {n}, "unplanned_tokens": {n}0}}}}'


def usage(tenant: str) -> pl.DataFrame:
    """Forty panes of two sources over five hours: 80 calls, 800 tokens read."""
    rows = [
        {"tenant": tenant, "agent_id": "agent_1", "operation": "chat", "model": "m", "source": f"s/{n % 2}"}
        | {"pane": T0 + (n // 2) * HOUR // 8, "calls": 1, "input_tokens": 10}
        for n in range(80)
    ]
    return pl.DataFrame(rows).with_columns(pl.col("pane").cast(TIME))


@given(
    cuts=st.lists(st.integers(0, 80), min_size=1, max_size=4),
    again=st.lists(st.tuples(st.integers(0, 79), st.integers(1, 40)), max_size=3),
    same=st.booleans(),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_usage_that_comes_again_in_any_batches_counts_once(
    client: Client, cuts: list[int], again: list[tuple[int, int]], same: bool
) -> None:
    tenant = f"t_{uuid.uuid4().hex[:8]}"
    frame = usage(tenant)
    bounds = [0, *sorted(cuts), 80]
    parts = [(start, end - start) for start, end in zip(bounds, bounds[1:], strict=False) if end > start]
    for start, length in [*parts, *again, *(parts if same else [])]:
        client.insert_frame("agent_usage", frame[start : start + length], f"{tenant}:{start}:{length}")
    for bucket, buckets in (("minute", 40), ("hour", 5), ("day", 1)):
        sql = f"""SELECT sum(calls) AS calls, sum(input_tokens) AS tokens, uniqExact({bucket}) AS buckets
            FROM agent_usage_by_{bucket} WHERE tenant = {{t:String}}"""
        assert client.query(sql, {"t": tenant}) == [{"calls": 80, "tokens": 800, "buckets": buckets}]
    (model,) = client.query("SELECT * FROM tokens_by_model_daily WHERE tenant = {t:String}", {"t": tenant})
    assert (model["calls"], model["fresh_input_tokens"], model["tokens"]) == (80, 800, 800)


def insert(client: Client, table: str, token: str, *rows: dict[str, object]) -> None:
    """Rows as given; times are microseconds."""
    frame = pl.DataFrame(list(rows))
    times = [name for name in frame.columns if name.endswith("_at") or name in ("at", "event_time", "ingest_time")]
    client.insert_frame(table, frame.with_columns(pl.col(times).cast(TIME)), token)


def test_revisions_late_spans_growing_loops_and_repeated_pages_count_once(client: Client) -> None:
    tenant, known = "revised", {"t": "revised"}
    gap = '[{"component": "agent_1", "failure_point": "f", "gap": "step limit: none"}]'
    for revision, status, tokens in ((2, "resolved", 70), (1, "open", 30), (2, "resolved", 70)):
        row: dict[str, object] = {
            "tenant": tenant, "incident_id": "i1", "revision": revision, "kind": "feedback_loop", "status": status,
            "severity": "warning", "agent_id": "agent_1", "agent_version": "1", "verdict": "agent",
            "governance_gaps": gap, "unplanned_tokens": tokens, "started_at": T0, "detected_at": T0 + 1,
            "updated_at": T0 + revision,
        }  # fmt: skip
        for table in ("incidents", "incident_revisions"):
            insert(client, table, f"{table}:{uuid.uuid4()}", row)
    for place, late in ((1, 0), (2, 1), (2, 1)):
        span: dict[str, object] = {
            "event_time": T0, "tenant": tenant, "agent_id": "agent_1", "session_id": "s1", "span_id": f"c{place}",
            "operation": "execute_tool", "tool_name": "search", "status": "ok", "duration_ms": 100 * place,
            "topic": "a", "partition": 0, "offset": place, "late": late, "ingest_time": T0,
        }  # fmt: skip
        insert(client, "agent_traces", str(uuid.uuid4()), span)
    for at in (5, 9, 5):
        signal: dict[str, object] = {
            "signal_id": f"g{at}", "type": "feedback_loop.exact", "tenant": tenant, "agent_id": "agent_1",
            "session_id": "s1", "detected_at": T0 + at, "evidence": LEDGER.format(n=at),
        }  # fmt: skip
        insert(client, "signals", str(uuid.uuid4()), signal)
    for state in (2, 0, 2):
        page: dict[str, object] = {
            "dedup_key": "k", "tenant": tenant, "incident_id": "i1", "rule": "loops", "mode": "page",
            "transition": "firing", "state": ["pending", "failed", "sent"][state], "state_order": state, "at": T0 + 3,
        }  # fmt: skip
        insert(client, "notifications", str(uuid.uuid4()), page)

    def one(view: str) -> dict[str, object]:
        (row,) = client.query(f"SELECT * FROM {view} WHERE tenant = {{t:String}}", known)
        return row

    daily = one("unplanned_tokens_by_agent_daily")
    assert (daily["incidents"], daily["unplanned_tokens"], daily["percent_of_tokens"]) == (1, 70, None)
    assert one("incidents_by_agent_version")["incidents"] == 1
    assert (one("limits_hit")["limit"], one("limits_hit")["times"]) == ("step limit", 1)
    latency = one("tool_latency")
    assert (latency["calls"], latency["p50_ms"], latency["max_ms"]) == (2, 200, 200)
    assert one("sessions_by_agent")["tool_calls"] == 2
    loop = one("loops_by_tool")
    assert (loop["tool"], loop["sessions"], loop["redundant_calls"], loop["unplanned_tokens"]) == ("search", 1, 9, 90)
    paged = one("pages_by_rule")
    assert (paged["incidents"], paged["sent"], paged["failed"]) == (1, 1, 0)
    assert paged["median_seconds_to_acknowledge"] is None
    knew = "SELECT status, unplanned_tokens, revisions FROM what_we_knew_at(at = {at:DateTime64(6)}) WHERE tenant = {t:String}"
    for at, expected in (
        (1, {"status": "open", "unplanned_tokens": 30, "revisions": 1}),
        (2, {"status": "resolved", "unplanned_tokens": 70, "revisions": 2}),
    ):
        assert client.query(knew, known | {"at": f"2026-03-01 12:00:00.00000{at}"}) == [expected]
    assert client.query(knew, known | {"at": "2026-03-01 12:00:00.000000"}) == []


def test_what_is_said_again_in_another_month_is_in_another_partition_and_counts_once_all_the_same(
    client: Client,
) -> None:
    """Rows are replaced within a partition only: FINAL must see over them (no do_not_merge_across_partitions here)."""
    month = 31 * 24 * HOUR
    for at, who in ((T0, "kim"), (T0 + month, "mo")):
        row: dict[str, object] = {
            "tenant": "months",
            "incident_id": "i1",
            "acknowledged_at": at,
            "acknowledged_by": who,
        }
        insert(client, "acknowledgements", str(uuid.uuid4()), row)
    for at, state in ((T0, 0), (T0 + month, 2)):
        page: dict[str, object] = {
            "dedup_key": "k", "tenant": "months", "incident_id": "i1", "rule": "loops", "mode": "page",
            "transition": "firing", "state": ["pending", "", "sent"][state], "state_order": state, "at": at,
        }  # fmt: skip
        insert(client, "notifications", str(uuid.uuid4()), page)
    for table in ("acknowledgements", "notifications"):
        sql = "SELECT uniqExact(partition) AS n FROM system.parts WHERE database = {d:String} AND table = {t:String} AND active"
        assert client.query(sql, {"d": client.database, "t": table})[0]["n"] >= 2
    (paged,) = client.query("SELECT * FROM pages_by_rule WHERE tenant = 'months'")
    assert (paged["incidents"], paged["sent"], paged["failed"], paged["acknowledged"]) == (1, 1, 0, 1)
    newest = client.query("SELECT acknowledged_by FROM acknowledgements FINAL WHERE tenant = 'months'")
    assert newest == [{"acknowledged_by": "mo"}]


def test_the_newest_mark_wins_and_marks_belong_to_one_incident(client: Client) -> None:
    for at, mark in ((1, "noise"), (3, "useful"), (2, "noise")):
        row: dict[str, object] = {"tenant": "marks", "incident_id": "i1", "mark": mark, "marked_by": "user:mo"}
        insert(client, "incident_marks", str(uuid.uuid4()), row | {"marked_at": T0 + at})
    found = client.query("SELECT mark FROM incident_marks FINAL WHERE tenant = 'marks'")
    assert found == [{"mark": "useful"}]
