"""The rules that every table keeps: types, Nullable, codecs, keys, partitions, times to live, skip indexes.

A new table or column is judged by them as soon as its migration is there; what differs is named here, with the reason.
"""

import re
import uuid
from typing import Any, get_args

import polars as pl
import pytest

from alerts.outbox import State, Transition
from alerts.rules.model import Mode
from pipeline.embedded import Database
from schemas import controls, incidents
from schemas.watches import Ending
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client, connect
from sinks.clickhouse.errors import ClickHouseError, Verdict
from sinks.clickhouse.marks import MARKS
from sinks.clickhouse.writer import Writer

pytestmark = pytest.mark.embedded
EVENT, WRITTEN = "DateTime64(6, 'UTC')", "DateTime('UTC')"
RAW = {"agent_traces", "system_metrics", "cluster_events"}
LARGE = RAW | {"agent_usage"}  # a row a message, a row a pane: what a number takes on disk counts
DAYS = {**dict.fromkeys(RAW, 30), "dead_letters": 30, "agent_usage": 400, "signals": 400, "write_watches": 400}

CLOSED: dict[tuple[str, str], Any] = {
    **{(table, "kind"): incidents.Kind for table in ("incidents", "incident_revisions")},
    **{(table, "status"): incidents.Status for table in ("incidents", "incident_revisions")},
    **{(table, "severity"): incidents.Severity for table in ("incidents", "incident_revisions", "notifications")},
    **{(table, "verdict"): incidents.Verdict for table in ("incidents", "incident_revisions")},
    ("notifications", "mode"): Mode,
    ("notifications", "transition"): Transition,
    ("notifications", "state"): State,
    ("controls", "action"): controls.Action,
    ("controls", "mode"): controls.Mode,
    ("write_watches", "outcome"): Ending,
}
# Words of which there are few; in a key or a filter of nearly every question.
FEW = {
    *("tenant", "agent_id", "agent_name", "agent_version", "task_type", "prompt_version", "operation", "provider", "model"),
    *("tool_name", "access", "finish_reason", "error_type", "approval", "topic", "source", "metric", "unit", "actor_kind"),
    *("type", "scope", "owner", "rule", "receiver", "rule_version", "stage", "code_version", "author"),
}  # fmt: skip
# A time has no value that means "none", a count may be 0. Texts are empty instead.
NULLABLE = {
    EVENT: {"start_time", "published_time", "valid_from", "valid_until", "resolved_at", "acknowledged_at", "first_seen_at", "symptom_at", "until"},
    "Int64": {"context_tokens", "context_limit", "step", "max_steps"},
}  # fmt: skip
PLACE = ("topic", "partition", "offset")
BY_ID = {"trace_id", "span_id", "session_id", "event_id", "signal_id"}
NOT_BY_TENANT = {"dead_letters", "dead_letter_replays", "limits_loosened", "schema_migrations"}  # they have none


@pytest.fixture(scope="module")
def columns(client: Client) -> list[dict[str, Any]]:
    sql = """SELECT table, name, type, compression_codec AS codec, is_in_sorting_key AS in_key, comment FROM system.columns
        WHERE database = {d:String}
            AND table IN (SELECT name FROM system.tables WHERE database = {d:String} AND engine LIKE '%MergeTree')"""
    return client.query(sql, {"d": client.database})


@pytest.fixture(scope="module")
def tables(client: Client) -> dict[str, dict[str, Any]]:
    sql = """SELECT name, engine, engine_full, partition_key, sorting_key FROM system.tables
        WHERE database = {d:String} AND engine LIKE '%MergeTree'"""
    return {row["name"]: row for row in client.query(sql, {"d": client.database})}


def test_a_time_is_utc_in_microseconds_and_when_a_row_was_written_in_seconds(columns: list[dict[str, Any]]) -> None:
    for row in columns:
        written = row["name"] in ("stored_at", "applied_at")
        if "Date" in row["type"]:
            assert row["type"].removeprefix("Nullable(").removesuffix(")" if "Null" in row["type"] else "") == (
                WRITTEN if written else EVENT
            ), row
        assert written or not re.search(r"(_at|_time|^at|^until|^pane)$", row["name"]) or EVENT in row["type"], row


def test_a_closed_set_of_ours_is_an_enum_of_exactly_the_words_the_code_knows(columns: list[dict[str, Any]]) -> None:
    found = {(row["table"], row["name"]): row["type"] for row in columns if row["type"].startswith("Enum")}
    words = {place: get_args(of) for place, of in CLOSED.items()} | {("incident_marks", "mark"): MARKS}
    assert found.keys() == words.keys()
    for place, type_ in found.items():
        numbered = re.findall(r"'(\w*)' = (\d+)", type_)
        assert numbered[0] == ("", "0"), place  # what a LEFT JOIN gives where there is no row
        assert {word for word, _ in numbered[1:]} == set(words[place]), place


def test_the_comment_of_the_timelines_type_names_every_word_that_stands_there(columns: list[dict[str, Any]]) -> None:
    (comment,) = [row["comment"] for row in columns if (row["table"], row["name"]) == ("incident_timeline", "type")]
    told = {*re.findall(r"\w+", comment)}
    for of in (incidents.Evidence, incidents.Transition):
        assert told >= {*get_args(of.model_fields["type"].annotation)}
    assert told >= {"acknowledged", "withdrawn"}  # those rows.py makes of an incident's status


def test_a_word_that_the_database_does_not_know_yet_blames_no_row_and_says_what_to_do(client: Client) -> None:
    frame = pl.DataFrame({"incident_id": ["i1", "i2"], "status": ["paused", "open"]})
    with pytest.raises(ClickHouseError, match="run `aftermath setup`") as caught:
        Writer(client, lambda seconds: None, lambda: 1.0).write("incidents", frame, "words")
    assert (caught.value.code, caught.value.verdict) == (691, Verdict.BAD_SETUP)


def test_what_has_few_values_is_low_cardinality_and_no_other_text_is_in_a_key_without_need(
    columns: list[dict[str, Any]],
) -> None:
    assert {(row["table"], row["name"]): row["type"] for row in columns if row["name"] in FEW} == {
        (row["table"], row["name"]): "LowCardinality(String)" for row in columns if row["name"] in FEW
    }
    ids = [row for row in columns if row["name"].endswith(("_id", "_digest")) and row["name"] != "agent_id"]
    assert {row["type"] for row in ids} == {"String"}  # as many as there are rows: a dictionary only costs


def test_only_a_time_or_a_count_that_may_be_missing_is_nullable(columns: list[dict[str, Any]]) -> None:
    for row in columns:
        if row["type"].startswith("Nullable"):
            assert row["name"] in NULLABLE.get(row["type"][len("Nullable(") : -1], set()), row
            assert not row["in_key"], row
    assert {row["name"] for row in columns if row["type"].startswith("Nullable")} == set().union(*NULLABLE.values())


def test_a_column_is_compressed_by_what_it_holds(columns: list[dict[str, Any]]) -> None:
    for row in columns:
        if row["table"] == "schema_migrations":
            continue
        if row["type"] == EVENT:  # near the one before it
            assert row["codec"] == "CODEC(Delta(8), ZSTD(1))", row
        elif row["type"] in ("String", f"Nullable({EVENT})"):
            assert row["codec"] == "CODEC(ZSTD(1))", row
        elif "Int64" in row["type"] and row["table"] in LARGE:
            wanted = "CODEC(Delta(8), ZSTD(1))" if row["name"] == "offset" else "CODEC(ZSTD(1))"
            assert row["codec"] == wanted, row
        elif row["type"] == "Float64" and row["table"] in LARGE | {"signals"}:
            assert row["codec"] == "CODEC(Gorilla(8), ZSTD(1))", row


def test_the_key_begins_with_the_tenant_and_makes_a_row_that_comes_again_the_same_row(
    tables: dict[str, dict[str, Any]],
) -> None:
    for name, row in tables.items():
        key = tuple(row["sorting_key"].split(", "))
        assert row["engine"] == "ReplacingMergeTree"
        assert (key[0] == "tenant") == (name not in NOT_BY_TENANT), name
        if name in RAW:
            assert key[-3:] == PLACE
            assert key[-4] == "event_time"  # after who or what it is about, before the place
    assert tables["agent_usage"]["sorting_key"].startswith("tenant, agent_id, pane, ")
    versions = {name: re.search(r"MergeTree\((\w+)\)", row["engine_full"]) for name, row in tables.items()}
    assert {name: match[1] for name, match in versions.items() if match} == {
        "incidents": "revision", "incident_timeline": "revision", "notifications": "state_order",
        "acknowledgements": "acknowledged_at", "incident_marks": "marked_at",
    }  # fmt: skip


def test_raw_rows_are_split_by_day_and_what_was_concluded_by_month(tables: dict[str, dict[str, Any]]) -> None:
    for name, row in tables.items():
        if name in RAW:
            assert row["partition_key"] == "toYYYYMMDD(event_time)"
        else:
            assert re.fullmatch(r"toYYYYMM\(\w+\)|", row["partition_key"]), name


def test_a_time_to_live_counts_from_when_a_row_was_written(tables: dict[str, dict[str, Any]]) -> None:
    found = {
        name: match[1]
        for name, row in tables.items()
        if (match := re.search(r"TTL (.*?) SETTINGS", row["engine_full"]))
    }
    assert found == {name: f"stored_at + toIntervalDay({days})" for name, days in DAYS.items()}


def test_every_id_that_people_look_for_is_in_the_key_or_has_a_skip_index(
    client: Client, columns: list[dict[str, Any]]
) -> None:
    sql = "SELECT table, expr, type FROM system.data_skipping_indices WHERE database = {d:String}"
    found = client.query(sql, {"d": client.database})
    assert {row["type"] for row in found} == {"bloom_filter"}
    indexed = {(row["table"], row["expr"]) for row in found}
    for row in columns:
        if row["name"] in BY_ID:
            assert row["in_key"] or (row["table"], row["name"]) in indexed, (row["table"], row["name"])


@pytest.mark.parametrize("column", ["trace_id", "session_id", "span_id"])
def test_the_skip_index_leaves_a_few_granules_of_many(client: Client, column: str) -> None:
    if client.query("SELECT count() AS n FROM agent_traces") == [{"n": 0}]:
        client.command("""INSERT INTO agent_traces (tenant, agent_id, event_time, trace_id, session_id, span_id, topic, offset)
            SELECT 'acme', concat('agent_', toString(intDiv(number, 20) % 7)), toDateTime64('2026-03-01', 6, 'UTC') + toIntervalSecond(number % 80000),
                hex(cityHash64(intDiv(number, 20))), concat('run_', toString(intDiv(number, 20))), hex(cityHash64(number, 1)), 'a', number
            FROM numbers(200000)""")
    sql = f"EXPLAIN indexes = 1 SELECT * FROM agent_traces WHERE {column} = (SELECT any({column}) FROM agent_traces)"
    plan = "\n".join(row["explain"] for row in client.query(sql))
    left, whole = re.findall(r"Granules: (\d+)/(\d+)", plan)[-1]
    assert int(whole) > 20
    assert int(left) < int(whole) / 4


def test_the_view_of_whole_incidents_has_every_column_of_the_table(client: Client) -> None:
    """A view keeps the columns that its table had when it was made: a migration that adds one makes it anew."""
    first, second = (client.query(f"DESCRIBE {name}") for name in ("incidents", "incidents_current"))
    assert [(row["name"], row["type"]) for row in first] == [(row["name"], row["type"]) for row in second]


def test_rows_of_before_the_enums_keep_their_words_through_the_migration(clickhouse: Database) -> None:
    client = connect(clickhouse.url, clickhouse.user, clickhouse.password, f"d_{uuid.uuid4().hex[:12]}")
    migrations.migrate(client, migrations.load()[:15])
    for table, row in (
        ("incidents", {"incident_id": "i", "kind": "feedback_loop", "status": "open", "verdict": "agent"}),
        ("incident_marks", {"incident_id": "i", "mark": "noise"}),
        ("notifications", {"dedup_key": "k", "mode": "page", "state": "held", "transition": ""}),
    ):
        client.insert_frame(table, pl.DataFrame([row]), table)
    assert len(migrations.migrate(client)) == len(migrations.load()) - 15
    assert client.query("SELECT kind, status, verdict, severity FROM incidents_current") == [
        {"kind": "feedback_loop", "status": "open", "verdict": "agent", "severity": ""}
    ]
    assert client.query("SELECT mark FROM incident_marks") == [{"mark": "noise"}]
    assert client.query("SELECT mode, state, transition FROM notifications") == [
        {"mode": "page", "state": "held", "transition": ""}
    ]
    client.command(f"DROP DATABASE {client.database}", use_database=False)
    client.close()
