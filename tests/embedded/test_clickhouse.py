"""The sink against a real ClickHouse engine: migrations, frames in, rows and views out, once each."""

import dataclasses
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from alerts.rules.samples import sample_incident
from pipeline.embedded import Database
from schemas.errors import ConfigurationError, Reason, Rejected
from schemas.incidents import Attribution, Candidate, ContextGap, Evidence, Exhaustion, Incident
from schemas.oncall import Acknowledgement
from schemas.registry import newest
from schemas.signals import Signal
from schemas.usage import COLUMNS, KEY, SUMS, usage_of
from sinks.clickhouse import migrations, rows
from sinks.clickhouse.client import Client, connect, connect_writer
from sinks.clickhouse.cluster import on_cluster
from sinks.clickhouse.errors import ClickHouseError, Verdict
from sinks.clickhouse.migrations import Migration
from sinks.clickhouse.writer import Writer
from sinks.dead_letters import dead_letter, preview_row
from tests import databases

pytestmark = pytest.mark.embedded
T0 = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = 60_000_000


def new_client(database: Database, **changes: Any) -> Client:
    wanted: dict[str, Any] = {"url": database.url, "user": database.user, "password": database.password}
    return connect(**(wanted | {"database": f"d_{uuid.uuid4().hex[:12]}"} | changes))


@pytest.fixture
def empty(clickhouse: Database) -> Iterator[Client]:
    """A client for a database that does not exist yet."""
    client = new_client(clickhouse)
    yield client
    client.command(f"DROP DATABASE IF EXISTS {client.database}", use_database=False)
    client.close()


@pytest.fixture(scope="module")
def migrated(clickhouse: Database) -> Iterator[Client]:
    """All tables; tests tell their rows apart by tenant."""
    client = databases.migrated(clickhouse)
    yield client
    databases.drop(client)


@pytest.fixture
def tenant() -> str:
    return f"tenant_{uuid.uuid4().hex[:8]}"


def writer(client: Client) -> Writer:
    def no_retry(error: ClickHouseError, seconds: float) -> None:
        raise AssertionError(error)

    return Writer(client, lambda seconds: None, lambda: 1.0, on_retry=no_retry)


def raw(record: str, *events: dict[str, Any], partition: int = 1, first_offset: int = 10) -> pl.DataFrame:
    """A decoded batch: absent optional fields are null, defaults filled."""
    schema = newest(record)
    defaults = {item.name: item.default for item in schema.fields}
    frame = pl.DataFrame([defaults | event for event in events], schema=schema.columns, orient="row")
    return frame.with_columns(
        pl.lit(partition, dtype=pl.Int32).alias("partition"),
        (pl.int_range(pl.len(), dtype=pl.Int64) + first_offset).alias("offset"),
        pl.lit(T0 + 1, dtype=pl.Int64).alias("ingest_time"),
    )


def span(tenant: str, **fields: Any) -> dict[str, Any]:
    return {
        "event_time": T0,
        "tenant": tenant,
        "trace_id": "t1",
        "span_id": "s1",
        "session_id": "session_1",
        "agent_id": "agent_1",
        "operation": "chat",
    } | fields


def incident(tenant: str, revision: int = 1, **fields: Any) -> Incident:
    found: dict[str, Any] = {
        "incident_id": "i1",
        "fingerprint": "f1",
        "revision": revision,
        "tenant": tenant,
        "kind": "agent_caused_failure",
        "status": "open",
        "severity": "critical",
        "scope": "prod/shop",
        "agent_id": "agent_1",
        "agent_version": None,
        "session_ids": ("session_1", "session_2"),
        "title": "cart is down",
        "started_at": T0,
        "detected_at": T0 + MINUTE,
        "updated_at": T0 + revision * MINUTE,
        "summary": "agent_1 scaled cart",
        "attribution": Attribution(
            verdict="agent",
            probability=0.9,
            ranked=(
                Candidate(
                    kind="agent_action",
                    resource="prod/shop/deployment/cart",
                    span_id="s1",
                    session_id="session_1",
                    agent_id="agent_1",
                    event_time=T0,
                    probability=0.9,
                    factors={"time": 0.5},
                ),
            ),
        ),
        "context_gaps": (
            ContextGap(
                event_id="mw-1", resource="prod/shop/x/y", source="calendar", class_="never_queried", span_id="s1"
            ),
        ),
        "evidence": (
            Evidence(
                type="action",
                topic="agent.traces.v1",
                partition=1,
                offset=10,
                event_id="s1",
                event_time=T0,
                resource="prod/shop/deployment/cart",
                shows="scaled 6 to 24",
            ),
        ),
    }
    return Incident(**(found | fields))


def test_migrations_run_twice_and_say_what_they_did(empty: Client) -> None:
    names = [migration.name for migration in migrations.load()]
    assert migrations.check(empty) == names
    assert migrations.migrate(empty) == names
    assert migrations.check(empty) == []
    assert migrations.migrate(empty) == []
    tables = {row["name"] for row in empty.query("SHOW TABLES")}
    assert tables >= {"agent_traces", "incidents", "incident_timeline", "dead_letters", "open_incidents", "timeline_of"}


def test_two_workers_may_migrate_at_once(empty: Client, clickhouse: Database) -> None:
    others = [connect(clickhouse.url, clickhouse.user, clickhouse.password, empty.database) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(migrations.migrate, others))
    assert migrations.check(empty) == []
    rows = empty.query("SELECT number, name FROM schema_migrations FINAL ORDER BY number")
    assert [row["name"] for row in rows] == [migration.name for migration in migrations.load()]


def test_the_statements_for_a_cluster_are_sql(migrated: Client) -> None:
    statements = [statement for migration in migrations.load() for statement in migration.statements]
    for statement in [migrations.TABLE, *statements]:
        (row,) = migrated.query("SELECT formatQuery({q:String}) AS q", {"q": on_cluster(statement, "blue")})
        assert "ON CLUSTER blue" in row["q"]


def test_what_is_gone_is_named_and_brought_back_with_what_later_files_added(migrated: Client, tenant: str) -> None:
    before = columns(migrated, "notifications")
    frame = rows.incident_frame([incident(tenant)])
    writer(migrated).write("incidents", frame, tenant)
    migrated.command("DROP TABLE notifications")
    migrated.command("DROP VIEW tool_latency")
    names = [migration.name for migration in migrations.load()]
    assert migrations.check(migrated) == [
        "notifications is gone (0003_outcomes.sql)",
        "tool_latency is gone (0007_questions.sql)",
    ]
    assert migrations.migrate(migrated) == names[2:]
    assert migrations.check(migrated) == []
    assert columns(migrated, "notifications") == before
    sql = "SELECT count() AS n FROM incidents WHERE tenant = {t:String}"
    assert migrated.query(sql, {"t": tenant}) == [{"n": 1}]


def columns(client: Client, table: str) -> list[Any]:
    return [row["name"] for row in client.query(f"DESCRIBE {table}")]


def test_a_changed_file_is_refused(empty: Client) -> None:
    first = Migration(1, "0001_a.sql", "CREATE TABLE a (x Int8) ENGINE = MergeTree ORDER BY x;\n")
    migrations.migrate(empty, [first])
    changed = dataclasses.replace(first, text=first.text + "-- more\n")
    for run in (migrations.migrate, migrations.check):
        with pytest.raises(ConfigurationError, match=r"0001_a\.sql was changed .* put it back"):
            run(empty, [changed])


def test_a_migration_that_failed_halfway_goes_on_at_the_next_run(empty: Client) -> None:
    good = "CREATE TABLE IF NOT EXISTS a (x Int8) ENGINE = MergeTree ORDER BY x;\n"
    with pytest.raises(ClickHouseError):
        migrations.migrate(empty, [Migration(1, "0001_a.sql", good + "CREATE TABLE b (x Nothing_Like_It);\n")])
    mended = Migration(1, "0001_a.sql", good + good.replace(" a ", " b "))
    assert migrations.check(empty, [mended]) == ["0001_a.sql"]
    assert migrations.migrate(empty, [mended]) == ["0001_a.sql"]


def test_a_database_newer_than_the_code_is_refused(empty: Client) -> None:
    first, second = (Migration(n, f"000{n}_a.sql", "SELECT 1;\n") for n in (1, 2))
    migrations.migrate(empty, [first, second])
    with pytest.raises(ConfigurationError, match="has migration 2, and this version knows 1"):
        migrations.migrate(empty, [first])


def test_raw_rows_arrive_with_times_place_and_defaults_and_without_secrets(migrated: Client, tenant: str) -> None:
    frame = raw(
        "agent_span",
        span(tenant, tool_args='{"password": "hunter2"}', step=3, start_time=T0 - 5, model=None),
        span(tenant, span_id="s2", summary="mail ines@acme.example"),
    )
    found = rows.raw_frame("agent_span", frame, pl.Series([False, True]), "agent.traces.v1")
    assert writer(migrated).write("agent_traces", found, f"{tenant}:1:10-11") == []
    first, second = migrated.query(
        "SELECT * FROM agent_traces FINAL WHERE tenant = {t:String} ORDER BY offset", {"t": tenant}
    )
    assert first["event_time"] == NOON
    assert first["start_time"] == NOON.replace(hour=11, minute=59, second=59, microsecond=999995)
    assert first["tool_args"] == '{"password": "[redacted]"}'
    assert (first["topic"], first["partition"], first["offset"]) == ("agent.traces.v1", 1, 10)
    assert (first["step"], first["model"], first["late"], first["status"]) == (3, "", 0, "ok")
    assert (second["step"], second["start_time"], second["late"]) == (None, None, 1)
    assert second["summary"] == "mail [e-mail]"


def test_every_raw_table_takes_its_record(migrated: Client, tenant: str) -> None:
    metric = {"event_time": T0, "tenant": tenant, "resource": "a/b/c/d", "metric": "m", "value": 1.5}
    event = {"event_time": T0, "tenant": tenant, "event_id": "e", "resource": "a/b/c/d", "kind": "flag", "value": "on"}
    for record, fields, topic in (
        ("metric_point", metric, "system.metrics.v1"),
        ("cluster_event", event, "cluster.events.v1"),
    ):
        frame = rows.raw_frame(record, raw(record, fields), False, topic)
        assert writer(migrated).write(rows.TABLES[record], frame, f"{tenant}:{record}") == []
        sql = f"SELECT count() AS n FROM {rows.TABLES[record]} WHERE tenant = {{t:String}}"
        assert migrated.query(sql, {"t": tenant}) == [{"n": 1}]


def test_a_retry_with_the_same_token_does_not_double_and_other_bounds_are_folded(migrated: Client, tenant: str) -> None:
    frame = raw("agent_span", *(span(tenant, span_id=f"s{n}") for n in range(4)))
    found = rows.raw_frame("agent_span", frame, False, "agent.traces.v1")
    count = "SELECT count() AS n FROM agent_traces {} WHERE tenant = {{t:String}}"
    for _ in range(2):
        migrated.insert_frame("agent_traces", found, f"{tenant}:0-3")
    assert migrated.query(count.format(""), {"t": tenant}) == [{"n": 4}]
    migrated.insert_frame("agent_traces", found[1:3], f"{tenant}:1-2")  # as after a restart
    assert migrated.query(count.format("FINAL"), {"t": tenant}) == [{"n": 4}]


def test_rows_of_any_year_we_accept_can_be_stored(migrated: Client, tenant: str) -> None:
    years = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2150, 6, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC))
    frame = raw("agent_span", *(span(tenant, event_time=int(year.timestamp()) * 1_000_000) for year in years))
    found = rows.raw_frame("agent_span", frame, False, "agent.traces.v1")
    assert writer(migrated).write("agent_traces", found, tenant) == []
    sql = "SELECT event_time FROM agent_traces WHERE tenant = {t:String} ORDER BY event_time"
    assert tuple(row["event_time"] for row in migrated.query(sql, {"t": tenant})) == years


def test_a_frame_over_a_year_is_accepted(migrated: Client, tenant: str) -> None:
    day = 86_400_000_000
    frame = raw("agent_span", *(span(tenant, event_time=T0 - n * day) for n in range(365)))
    found = rows.raw_frame("agent_span", frame, False, "agent.traces.v1")
    assert writer(migrated).write("agent_traces", found, tenant) == []
    assert migrated.query("SELECT count() AS n FROM agent_traces WHERE tenant = {t:String}", {"t": tenant}) == [
        {"n": 365}
    ]


def test_halving_isolates_the_row_that_clickhouse_cannot_take(empty: Client) -> None:
    migrations.migrate(empty, [Migration(1, "0001_a.sql", "CREATE TABLE a (x Int64) ENGINE = MergeTree ORDER BY x;")])
    frame = pl.DataFrame({"x": [str(n) if n != 37 else "many" for n in range(64)]})
    found = writer(empty).write("a", frame, "k")
    assert [(item.row, item.code) for item in found] == [({"x": "many"}, 6)]
    assert empty.query("SELECT count() AS n, sum(x) AS s FROM a") == [{"n": 63, "s": sum(range(64)) - 37}]


def test_the_newest_revision_wins_whatever_the_order_of_arrival(migrated: Client, tenant: str) -> None:
    second = incident(tenant, 2, status="resolved", resolved_at=T0 + 2 * MINUTE, title="cart was down")
    for revision in (second, incident(tenant, 1)):
        frame = rows.incident_frame([revision])
        for table in ("incidents", "incident_revisions"):
            assert writer(migrated).write(table, frame, f"{tenant}:{table}:{revision.revision}") == []
    sql = "SELECT revision, title, status FROM incidents_current WHERE tenant = {t:String}"
    assert migrated.query(sql, {"t": tenant}) == [{"revision": 2, "title": "cart was down", "status": "resolved"}]
    sql = "SELECT revision FROM incident_revisions FINAL WHERE tenant = {t:String} ORDER BY revision"
    assert migrated.query(sql, {"t": tenant}) == [{"revision": 1}, {"revision": 2}]
    assert migrated.query("SELECT * FROM open_incidents WHERE tenant = {t:String}", {"t": tenant}) == []


def test_the_nested_parts_of_an_incident_can_be_asked_in_sql(migrated: Client, tenant: str) -> None:
    used = Exhaustion(
        needed_calls=5,
        calls=50,
        redundant_calls=45,
        calls_percent_of_expected=1000.0,
        unplanned_tokens=10_000_000,
        unplanned_input_tokens=9_000_000,
        unplanned_output_tokens=1_000_000,
        unplanned_cached_input_tokens=0,
        unplanned_reasoning_tokens=0,
        wall_time_seconds=1200.0,
    )
    writer(migrated).write("incidents", rows.incident_frame([incident(tenant, exhaustion=used)]), tenant)
    (found,) = migrated.query("SELECT * FROM incidents FINAL WHERE tenant = {t:String}", {"t": tenant})
    assert found["session_ids"] == ["session_1", "session_2"]
    assert (found["verdict"], found["probability"], found["unplanned_tokens"]) == ("agent", 0.9, 10_000_000)
    assert json.loads(found["context_gaps"])[0]["class"] == "never_queried"
    assert json.loads(found["attribution"])["ranked"][0]["event_time"] == "2026-03-01T12:00:00Z"
    assert found["detected_at"] == NOON.replace(minute=1)
    assert (found["resolved_at"], found["owner"], found["provisional"]) == (None, "", False)
    (opened,) = migrated.query("SELECT * FROM open_incidents WHERE tenant = {t:String}", {"t": tenant})
    assert opened["title"] == "cart is down"


def test_the_timeline_of_an_incident_has_each_thing_once(migrated: Client, tenant: str) -> None:
    name = f"i_{tenant}"
    ended = incident(tenant, 2, incident_id=name, status="resolved", resolved_at=T0 + 9 * MINUTE)
    for revision in (incident(tenant, 1, incident_id=name), ended):
        frame = rows.timeline_frame([revision])
        writer(migrated).write("incident_timeline", frame, f"{tenant}:{revision.revision}")
    found = migrated.query("SELECT * FROM timeline_of(incident_id = {i:String})", {"i": name})
    assert [(row["type"], row["shows"], row["agent_id"]) for row in found] == [
        ("action", "scaled 6 to 24", "agent_1"),
        ("opened", "cart is down", "agent_1"),
        ("resolved", "incident resolved", "agent_1"),
    ]
    assert (found[0]["topic"], found[0]["partition"], found[0]["offset"]) == ("agent.traces.v1", 1, 10)


def test_signals_usage_notifications_and_dead_letters_are_stored(migrated: Client, tenant: str) -> None:
    signal = Signal(
        signal_id="g1",
        type="feedback_loop.exact",
        tenant=tenant,
        window_start=T0,
        window_end=T0 + 5,
        detected_at=T0 + 5,
    )
    sums = dict.fromkeys(SUMS, 5) | {"duration_ms": 7}
    row = dict.fromkeys(KEY) | {"agent_id": "a", "operation": "chat"} | sums
    usage = usage_of(tenant, T0, "agent.traces.v1/0", pl.DataFrame([row], schema=COLUMNS))
    sent = {
        "dedup_key": "k1",
        "tenant": tenant,
        "incident_id": "i1",
        "revision": 1,
        "rule": "r",
        "mode": "page",
        "transition": "firing",
        "receiver": "console",
        "severity": "critical",
        "state": "sent",
        "at": T0,
        "title": "cart is down",
        "detail": "",
        "labels": "{}",
        "reason": "",
    }
    bad = Rejected(5, Reason.MALFORMED, "not JSON", b"token=abcdef", b"k", T0)
    frames = {
        "signals": rows.signal_frame([signal]),
        "agent_usage": rows.usage_frame([usage]),
        "notifications": rows.notification_frame([sent, sent | {"state": "pending"}]),
        "dead_letters": rows.dead_letter_frame([preview_row(dead_letter(bad, tenant, 0, "detect"))]),
    }
    for table, frame in frames.items():
        assert writer(migrated).write(table, frame, tenant) == []
    (found,) = migrated.query("SELECT * FROM signals FINAL WHERE tenant = {t:String}", {"t": tenant})
    assert (found["signal_id"], found["scope"], found["window_start"]) == ("g1", "", NOON)
    (found,) = migrated.query("SELECT * FROM agent_usage FINAL WHERE tenant = {t:String}", {"t": tenant})
    assert (found["calls"], found["duration_ms"], found["pane"]) == (5, 7, NOON)
    (found,) = migrated.query("SELECT state FROM notifications FINAL WHERE tenant = {t:String}", {"t": tenant})
    assert found["state"] == "sent"
    (found,) = migrated.query("SELECT * FROM dead_letters FINAL WHERE topic = {t:String}", {"t": tenant})
    assert (found["preview"], found["reason"], found["size"]) == ("token=[redacted]", "malformed", 12)


@pytest.mark.parametrize(
    "frame",
    [
        rows.signal_frame([]),
        rows.usage_frame([]),
        rows.incident_frame([]),
        rows.timeline_frame([]),
        rows.notification_frame([]),
        rows.dead_letter_frame([]),
    ],
)
def test_nothing_makes_an_empty_frame(frame: pl.DataFrame) -> None:
    assert frame.is_empty()
    assert "tenant" in frame.columns or "topic" in frame.columns


def test_a_missing_table_is_our_fault_and_says_what_to_do(empty: Client) -> None:
    empty.command(f"CREATE DATABASE {empty.database}", use_database=False)
    with pytest.raises(ClickHouseError, match="run `aftermath setup`") as caught:
        empty.insert_frame("nothing_here", pl.DataFrame({"x": [1]}), "k")
    assert (caught.value.code, caught.value.verdict) == (60, Verdict.BAD_SETUP)


def test_a_wrong_password_says_which_settings_to_check(clickhouse: Database) -> None:
    with pytest.raises(ClickHouseError, match="AFTERMATH_CLICKHOUSE_PASSWORD") as caught:
        new_client(clickhouse, password="wrong")
    assert (caught.value.code, caught.value.exit_code) == (516, 3)


def test_a_server_that_is_not_there_is_transient_and_named() -> None:
    with pytest.raises(ClickHouseError, match=r"no connection to 127\.0\.0\.1") as caught:
        connect("http://127.0.0.1:1", password="p")
    assert caught.value.verdict is Verdict.TRANSIENT


@pytest.mark.parametrize("url", ["127.0.0.1:8123", "ftp://x", "http://", "http://user:secret@host"])
def test_a_wrong_address_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="AFTERMATH_CLICKHOUSE_URL") as caught:
        connect(url)
    assert "secret" not in str(caught.value)


@dataclasses.dataclass(frozen=True)
class Settings:
    """As a worker's settings."""

    clickhouse_url: str
    clickhouse_password: SecretStr
    clickhouse_user: str = "default"
    clickhouse_database: str = "aftermath"
    clickhouse_ca_file: Path | None = None


def test_a_writer_starts_without_clickhouse_and_writes_once_it_is_there(clickhouse: Database, migrated: Client) -> None:
    down = connect_writer(Settings("http://127.0.0.1:1", SecretStr("p")))
    with pytest.raises(ClickHouseError) as caught:
        down.write("signals", pl.DataFrame({"tenant": ["x"]}), "k")
    assert caught.value.verdict is Verdict.TRANSIENT
    up = connect_writer(Settings(clickhouse.url, SecretStr(clickhouse.password), clickhouse_database=migrated.database))
    assert up.write("signals", pl.DataFrame({"tenant": ["late"]}), "k") == []
    assert migrated.query("SELECT count() AS n FROM signals WHERE tenant = 'late'") == [{"n": 1}]


def test_a_client_knows_whether_it_is_ready(clickhouse: Database) -> None:
    client = new_client(clickhouse)
    assert client.is_ready()
    client.close()


def test_the_analyst_cannot_write_through_the_client(migrated: Client, clickhouse: Database) -> None:
    reader = connect(clickhouse.url, clickhouse.analyst, clickhouse.analyst_password, migrated.database)
    assert reader.query("SELECT count() >= 0 AS yes FROM incidents_current") == [{"yes": True}]
    with pytest.raises(ClickHouseError) as caught:
        reader.insert_frame("signals", pl.DataFrame({"tenant": ["x"]}), "k")
    assert (caught.value.code, caught.value.verdict) == (164, Verdict.BAD_SETUP)
    reader.close()


def test_hostile_text_stays_text(migrated: Client, tenant: str) -> None:
    hostile = "'); DROP TABLE agent_traces; -- \\ \x00 \N{RIGHT-TO-LEFT OVERRIDE} {x:String}"
    frame = rows.raw_frame("agent_span", raw("agent_span", span(tenant, summary=hostile)), False, "agent.traces.v1")
    assert writer(migrated).write("agent_traces", frame, tenant) == []
    sql = "SELECT summary FROM agent_traces WHERE summary = {s:String}"
    assert migrated.query(sql, {"s": hostile}) == [{"summary": hostile}]


@pytest.mark.parametrize("order", ["a revision, then who has it", "who has it, then a revision"])
def test_an_incident_says_who_has_it_in_hand_in_its_own_row_and_keeps_it_over_revisions(
    migrated: Client, tenant: str, order: str
) -> None:
    def revision(number: int) -> pl.DataFrame:
        fields = {"incident_id": f"{tenant}-1", "tenant": tenant, "revision": number, "kind": "feedback_loop"}
        return rows.incident_frame([sample_incident(fields)])

    word = Acknowledgement(tenant, f"{tenant}-1", T0 + 7, "kim", "scaling back")
    elsewhere = Acknowledgement(f"{tenant}_other", f"{tenant}-1", T0 + 9, "mo")
    frames = [("incidents", revision(1)), ("acknowledgements", rows.acknowledgement_frame([word, elsewhere]))]
    if order.startswith("who"):
        frames.reverse()
    for table, frame in (*frames, ("incidents", revision(2))):
        assert writer(migrated).write(table, frame, f"{tenant} {table} {frame.row(0)}") == []
    (found,) = migrated.query("SELECT * FROM incidents FINAL WHERE tenant = {t:String}", {"t": tenant})
    assert (found["revision"], found["acknowledged_by"]) == (2, "kim")
    assert found["acknowledged_at"] == NOON + timedelta(microseconds=7)

    again = Acknowledgement(tenant, f"{tenant}-1", T0 + 8, "mo")
    writer(migrated).write("acknowledgements", rows.acknowledgement_frame([again]), f"{tenant} again")
    (found,) = migrated.query("SELECT * FROM incidents FINAL WHERE tenant = {t:String}", {"t": tenant})
    assert found["acknowledged_by"] == "mo"
