"""The databases that tests are given are those that the migrations make."""

from typing import Any

import pytest

from pipeline.embedded import Database
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client, connect
from tests.databases import drop, migrated

pytestmark = pytest.mark.embedded


def schema(client: Client) -> list[dict[str, Any]]:
    """Each table and view as the engine would make it again, without the name of the database."""
    sql = """SELECT name, engine, comment, replaceAll(create_table_query, {d:String}, '') AS made
        FROM system.tables WHERE database = {d:String} ORDER BY name"""
    return client.query(sql, {"d": client.database})


def test_a_copied_database_is_as_one_that_was_migrated_and_empty(clickhouse: Database) -> None:
    copy, other = migrated(clickhouse), migrated(clickhouse)
    one = connect(clickhouse.url, clickhouse.user, clickhouse.password, "migrated_by_itself")
    try:
        migrations.migrate(one)
        assert len(schema(one)) > 40
        assert schema(copy) == schema(one)
        assert migrations.check(copy) == []
        copy.command("INSERT INTO signals (tenant) VALUES ('x')")
        filled = "SELECT name FROM system.tables WHERE database = {d:String} AND total_rows > 0"
        assert other.query(filled, {"d": other.database}) == [{"name": "schema_migrations"}]
    finally:
        for client in (copy, other, one):
            drop(client)
