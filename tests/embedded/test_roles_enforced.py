"""What each role of deploy/clickhouse/roles.sql may do, on the engine itself: it sets up, writes, reads, reads one tenant.

The engine takes roles, grants, row filters and profiles from a file (engine_as.py), so what is shown here is what the
grants and filters of roles.sql allow; that a server takes the statements themselves is shown on a server
(tests/services/test_clickhouse_server.py).
"""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench.views import QUERIES
from sinks.clickhouse.client import ACKNOWLEDGE
from sinks.clickhouse.migrations import TABLE, Migration, load
from tests.embedded.engine_as import run_as

pytestmark = pytest.mark.embedded
ROLES = Migration(1, "roles.sql", Path("deploy/clickhouse/roles.sql").read_text()).statements
NO_TENANT = ("dead_letters", "dead_letter_replays", "limits_loosened")
DENIED, ABOVE, READ_ONLY = "Code: 497", "Code: 452", "Code: 164"
TABLES = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", "\n".join(migration.text for migration in load()))
OF_TENANTS = [table for table in TABLES if table not in NO_TENANT]
As = Callable[[list[str]], list[str]]


@pytest.fixture(scope="module")
def as_role(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], As]:
    """A function of a role: asks statements in a database that the role `setup` migrated and `writer` filled."""
    folder = tmp_path_factory.mktemp("engine") / "files"

    def of(role: str) -> As:
        profile = "aftermath_analyst" if "analyst" in role else ""
        return partial(run_as, f"aftermath_{role}", profile, folder, ROLES)

    made = ["CREATE DATABASE IF NOT EXISTS aftermath", "USE aftermath", TABLE]
    made += [statement for migration in load() for statement in migration.statements]
    made += ["INSERT INTO schema_migrations (number, name) VALUES (1, 'x')", "SELECT name FROM system.tables WHERE 0"]
    assert refused(of("setup")(made)) == []
    rows = [
        f"INSERT INTO aftermath.{table} (tenant) VALUES ('{tenant}')"
        for table in OF_TENANTS
        for tenant in ("acme", "rival")
    ]
    rows += [f"INSERT INTO aftermath.{table} (stored_at) VALUES (now())" for table in NO_TENANT]
    known = ["USE aftermath", "SET param_ids = ['i']", ACKNOWLEDGE]  # what follows a row of incidents
    assert refused(of("writer")([*rows, *known])) == []
    return of


def refused(answers: list[str]) -> list[str]:
    return [answer for answer in answers if answer.startswith("Code: ")]


def tenants(answer: str) -> list[str]:
    return [json.loads(line)["tenant"] for line in answer.splitlines()]


def test_who_sets_up_and_who_writes_may_do_no_more(as_role: Callable[[str], As]) -> None:
    forbidden = ["DROP TABLE aftermath.incidents", "TRUNCATE TABLE aftermath.incidents", "DROP DATABASE aftermath"]
    forbidden += ["CREATE ROLE r", "SELECT * FROM file('/etc/passwd', LineAsString)"]
    forbidden += ["SELECT * FROM url('http://127.0.0.1:1/', LineAsString)"]
    schema = ["ALTER TABLE aftermath.incidents ADD COLUMN x Int8", "CREATE TABLE aftermath.t (x Int8) ENGINE = Memory"]
    schema += ["CREATE VIEW aftermath.v AS SELECT 1", "DELETE FROM aftermath.incidents WHERE 1"]
    for role, statements in (("setup", forbidden), ("writer", forbidden + schema)):
        answers = as_role(role)(statements)
        assert [answer[: len(DENIED)] for answer in answers] == [DENIED] * len(statements), answers


def test_an_analyst_of_one_tenant_sees_its_rows_only_in_every_table_and_every_view(
    as_role: Callable[[str], As],
) -> None:
    seen = [f"SELECT DISTINCT tenant FROM aftermath.{table} ORDER BY tenant" for table in OF_TENANTS]
    answers = as_role("analyst_of_acme")(seen)
    assert {table: tenants(answer) for table, answer in zip(OF_TENANTS, answers, strict=True)} == {
        table: ["acme"] for table in OF_TENANTS
    }
    assert [tenants(answer) for answer in as_role("analyst")(seen)] == [["acme", "rival"]] * len(OF_TENANTS)

    given = {"agent_vs_baseline": "seconds = 300, since = '1969-01-01 00:00:00'", "timeline_of": "incident_id = ''",
        "what_we_knew_at": "at = '2026-03-02 14:13:00'"}  # fmt: skip
    views = [view for view in QUERIES if view not in ("trail_of", "late_and_unreadable_daily")]
    asked = [
        f"SELECT DISTINCT tenant FROM aftermath.{view}{f'({given[view]})' if view in given else ''}" for view in views
    ]
    of_acme, of_all = (as_role(role)(asked) for role in ("analyst_of_acme", "analyst"))
    assert refused(of_acme + of_all) == []
    assert {name for answer in of_acme for name in tenants(answer)} == {"acme"}
    rows = {view: sorted(tenants(answer)) for view, answer in zip(views, of_all, strict=True)}
    assert sum(found == ["acme", "rival"] for found in rows.values()) >= 8, rows  # the others need fuller rows


def test_an_analyst_reads_within_bounds_and_changes_nothing(as_role: Callable[[str], As]) -> None:
    both = {
        "SET max_execution_time = 61": ABOVE,
        "SET max_result_rows = 1000001": ABOVE,
        "SET max_memory_usage = 0": ABOVE,
        "SET result_overflow_mode = 'throw'": ABOVE,
        "SET readonly = 0": READ_ONLY,
        "INSERT INTO aftermath.incidents (tenant) VALUES ('acme')": DENIED,
        "TRUNCATE TABLE aftermath.incidents": DENIED,
        "SELECT * FROM file('/etc/passwd', LineAsString)": DENIED,
    }
    for role in ("analyst", "analyst_of_acme"):
        answers = as_role(role)(["SET max_execution_time = 60", *both])
        assert answers[0] == ""
        assert {sql: answer[: len(DENIED)] for sql, answer in zip(both, answers[1:], strict=True)} == both, answers
    without = [f"SELECT count() FROM aftermath.{table}" for table in NO_TENANT]
    without += ["SELECT * FROM aftermath.late_and_unreadable_daily"]
    assert refused(as_role("analyst")(without)) == []
    assert len(refused(as_role("analyst_of_acme")(without))) == len(without)
