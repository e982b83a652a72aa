"""A08, A09: the embedded database refuses what reaches outside it, and goes on taking rows afterwards."""

import urllib.error
import urllib.request
from pathlib import Path

import polars as pl
import pytest

from pipeline.embedded import Database
from sinks.clickhouse.client import connect
from tests.abuse import payloads

pytestmark = pytest.mark.embedded
WRITTEN = Path("/tmp/aftermath-abuse")


def ask(database: Database, sql: str, user: str) -> tuple[int, str]:
    password = database.password if user == database.user else database.analyst_password
    request = urllib.request.Request(
        f"{database.url}/", sql.encode(), {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("user", ["default", "analyst"])
@pytest.mark.parametrize("sql", payloads.statements())
def test_a_hostile_statement_is_refused_with_its_reason(clickhouse: Database, sql: str, user: str) -> None:
    status, said = ask(clickhouse, sql, user)
    assert 400 <= status <= 501, said
    assert said.startswith("Code: ")
    assert "root:" not in said
    assert not WRITTEN.exists()


def test_there_are_enough_of_them() -> None:
    assert len(set(payloads.statements())) >= 50


def test_statements_that_failed_do_not_keep_the_sink_from_writing(clickhouse: Database) -> None:
    client = connect(clickhouse.url, clickhouse.user, clickhouse.password, "abuse_port")
    client.command("CREATE DATABASE abuse_port", use_database=False)
    try:
        client.command("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
        for number, sql in enumerate(["SELECT throwIf(1)", "DROP TABLE abuse_port.t", "SELECT * FROM nothing"]):
            assert ask(clickhouse, sql, clickhouse.analyst)[0] >= 400
            client.insert_frame("t", pl.DataFrame({"a": [number]}), f"token-{number}")
        assert [row["a"] for row in client.query("SELECT a FROM t ORDER BY a")] == [0, 1, 2]
    finally:
        client.command("DROP DATABASE abuse_port", use_database=False)
        client.close()
