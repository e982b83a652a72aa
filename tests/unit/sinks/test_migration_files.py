"""The files themselves: every field of a schema is a column, every table and column is explained."""

import re
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.registry import newest
from schemas.usage import KEPT
from sinks.clickhouse.migrations import Migration, load
from sinks.clickhouse.rows import NOT_STORED

TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\n\(\n(.*?)\n\)\nENGINE = (.*?);\n", re.DOTALL)

ADDED = re.compile(r"ALTER TABLE (\w+)\n(.*?);\n", re.DOTALL)
COLUMN = re.compile(r"ADD COLUMN IF NOT EXISTS (.*)")


def tables() -> dict[str, tuple[dict[str, str], str]]:
    """Table -> its columns with their lines, and what follows them."""
    text = "\n".join(migration.text for migration in load())
    found = {}
    for name, body, rest in TABLE.findall(text):
        lines = [line.strip() for line in body.split("\n") if not line.strip().startswith("INDEX")]
        found[name] = ({line.split(" ", 1)[0]: line for line in lines}, rest)
    for name, lines in ADDED.findall(text):
        for line in COLUMN.findall(lines):
            found[name][0][line.split(" ", 1)[0]] = line
    return found


@pytest.mark.parametrize(
    ("table", "record"),
    [
        ("agent_traces", "agent_span"),
        ("system_metrics", "metric_point"),
        ("cluster_events", "cluster_event"),
        ("signals", "signal"),
        ("incidents", "incident"),
        ("incident_revisions", "incident"),
        ("notifications", "notification"),
        ("write_watches", "watched"),
        ("controls", "control"),
    ],
)
def test_every_field_of_the_schema_is_a_column(table: str, record: str) -> None:
    columns, _ = tables()[table]
    left_out = set(NOT_STORED) if record == "notification" else set()
    assert {name for name in columns if name in newest(record).columns} == set(newest(record).columns) - left_out


@pytest.mark.parametrize("table", list(tables()))
def test_every_table_and_every_column_is_explained_and_deduplicates(table: str) -> None:
    columns, rest = tables()[table]
    assert [name for name, line in columns.items() if " COMMENT '" not in line] == []
    assert "\nCOMMENT '" in rest
    assert "non_replicated_deduplication_window = 1000" in rest
    assert rest.startswith("ReplacingMergeTree")


@pytest.mark.parametrize("table", ["agent_traces", "system_metrics", "cluster_events"])
def test_the_key_of_a_raw_table_ends_with_its_place_in_the_log(table: str) -> None:
    assert "topic, partition, offset)\nTTL" in tables()[table][1]


def test_statements_end_at_a_semicolon_at_the_end_of_a_line_only() -> None:
    migration = Migration(1, "0001_a.sql", "-- one; two\nSELECT 'a; b'\n;\n\nSELECT 2;  \n-- the end;\n")
    assert migration.statements == ["-- one; two\nSELECT 'a; b'", "SELECT 2"]


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0002_b.sql").write_text("SELECT 1;")
    with pytest.raises(ConfigurationError, match=r"without gaps, not \[2\]"):
        load(tmp_path)


def test_a_file_with_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "first.sql").write_text("SELECT 1;")
    with pytest.raises(ConfigurationError, match="0001_what_it_does"):
        load(tmp_path)


def test_every_column_of_a_usage_table_is_a_column() -> None:
    columns, _ = tables()["agent_usage"]
    assert {"tenant", "pane", "source", *KEPT} <= set(columns)
