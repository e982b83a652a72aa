"""deploy/clickhouse/roles.sql: it is SQL of this engine, and no table with a tenant is left without its policies.

That the roles hold is shown on the engine (test_roles_enforced.py), and on a server where there is one
(tests/services/test_clickhouse_server.py).
"""

import re
from pathlib import Path

import pytest

from sinks.clickhouse.client import Client
from sinks.clickhouse.migrations import Migration

pytestmark = pytest.mark.embedded
ROLES = Migration(1, "roles.sql", Path("deploy/clickhouse/roles.sql").read_text())


def test_every_statement_is_sql_and_may_run_again(client: Client) -> None:
    for statement in ROLES.statements:
        (row,) = client.query("SELECT formatQuery({q:String}) AS q", {"q": statement})
        assert re.match(r"(CREATE (ROLE|SETTINGS PROFILE|QUOTA|ROW POLICY) IF NOT EXISTS|GRANT|REVOKE) ", row["q"])


def test_every_table_with_a_tenant_has_a_policy_for_it_and_one_for_everybody_else(client: Client) -> None:
    sql = """SELECT table FROM system.columns WHERE database = {d:String} AND name = 'tenant'
        AND table IN (SELECT name FROM system.tables WHERE database = {d:String} AND engine LIKE '%MergeTree')"""
    tables = {row["table"] for row in client.query(sql, {"d": client.database})}
    found = re.findall(r"POLICY IF NOT EXISTS (\w+) ON aftermath\.(\w+) FOR SELECT USING (.*?) TO (.*?);", ROLES.text)
    assert {table for _, table, _, _ in found} == tables
    for table in tables:
        pair = {name: (using, to) for name, of, using, to in found if of == table}
        assert pair == {
            "aftermath_acme": ("tenant = 'acme'", "aftermath_analyst_of_acme"),
            "aftermath_all": ("1", "ALL EXCEPT aftermath_analyst_of_acme"),
        }
