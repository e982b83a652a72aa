"""The migrations for a cluster: every statement on all servers, every table replicated, no statement forgotten."""

import re

import pytest

from schemas.errors import ConfigurationError
from sinks.clickhouse.cluster import on_cluster
from sinks.clickhouse.migrations import TABLE, load

STATEMENTS = [TABLE, *(statement for migration in load() for statement in migration.statements)]


def test_without_a_cluster_a_statement_is_left_as_it_is() -> None:
    assert all(on_cluster(statement, "") == statement for statement in STATEMENTS)


def test_every_statement_of_every_migration_goes_to_all_servers() -> None:
    for statement in STATEMENTS:
        spread = on_cluster(statement, "blue")
        assert spread.count("ON CLUSTER 'blue'") == 1
        assert not re.search(r"ENGINE = (?!Replicated)\w*MergeTree", spread)
        assert "non_replicated" not in spread
        assert len(re.findall(r"ENGINE = Replicated", spread)) == len(re.findall(r"(?m)^ENGINE = ", statement))


def test_a_replicated_table_keeps_its_version_column() -> None:
    made = "CREATE TABLE IF NOT EXISTS t\n(\n x Int8\n)\nENGINE = ReplacingMergeTree(revision)\nORDER BY x"
    place = "'/clickhouse/tables/{database}/{table}', '{replica}'"
    assert on_cluster(made, "blue") == (
        "CREATE TABLE IF NOT EXISTS t ON CLUSTER 'blue'\n(\n x Int8\n)\n"
        f"ENGINE = ReplicatedReplacingMergeTree({place}, revision)\nORDER BY x"
    )


@pytest.mark.parametrize("statement", ["DROP TABLE t", "OPTIMIZE TABLE t FINAL"])
def test_a_statement_of_another_kind_is_refused(statement: str) -> None:
    with pytest.raises(ConfigurationError, match="not known to run on a cluster"):
        on_cluster(statement, "blue")


def test_a_name_that_could_be_sql_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="AFTERMATH_CLICKHOUSE_CLUSTER"):
        on_cluster("CREATE DATABASE IF NOT EXISTS d", "x' SETTINGS")
