"""What was written twice, in other batches, and revisions that came after newer ones change no answer that people read.

The demo's rows, once as the pipeline stored them and once with every row there twice in parts that are never merged.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.embedded import Database
from reports.postmortem.build import build as postmortem
from reports.postmortem.formats import FORMATS
from reports.postmortem.model import Document
from reports.roundup.build import build as roundup
from reports.roundup.formats import FORMATS as ROUNDUP_FORMATS
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.client import Client
from tests.databases import drop, migrated
from tests.scenarios.test_cookbook import PAGE, QUERY
from tests.scenarios.test_dashboards import PANELS, filled

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]
NEVER_MERGED = "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"
IN_OTHER_BATCHES = 3
WITH_PARAMETERS = {
    "agent_vs_baseline": "seconds = 300, since = '2026-03-02 14:00:00'",
    "timeline_of": "incident_id = 'd4dc4a3528be7b99'",
    "trail_of": "tenant = 'acme', span_id = '4a92c53bed9a69c0'",
    "what_we_knew_at": "at = '2026-03-02 14:13:00'",
}


def tables(client: Client) -> list[str]:
    sql = """SELECT name FROM system.tables WHERE database = {d:String} AND engine LIKE '%MergeTree'
        AND name != 'schema_migrations' ORDER BY name"""
    return [row["name"] for row in client.query(sql, {"d": client.database})]


@pytest.fixture(scope="module")
def twice(demo: Client, clickhouse: Database) -> Iterator[Client]:
    copy = migrated(clickhouse)
    for table in tables(copy):
        copy.command(f"ALTER TABLE {table} MODIFY SETTING {NEVER_MERGED}")
        rows = f"SELECT * FROM {demo.database}.{table}"
        again = [
            f"{rows} WHERE cityHash64(toString(tuple(*))) % {IN_OTHER_BATCHES} = {part}"
            for part in range(IN_OTHER_BATCHES)
        ]
        for sql in (rows, *again):
            copy.command(f"INSERT INTO {table} {sql} SETTINGS insert_deduplicate = 0")
    older = "SELECT * FROM incident_revisions WHERE (incident_id, revision) NOT IN (SELECT incident_id, revision FROM incidents)"
    copy.command(f"INSERT INTO incidents {older} SETTINGS insert_deduplicate = 0")
    yield copy
    drop(copy)


def test_each_row_is_there_twice(demo: Client, twice: Client) -> None:
    for table in tables(demo):
        (once,) = demo.query(f"SELECT count() AS n FROM {table} FINAL")
        (more,) = twice.query(f"SELECT count() AS n FROM {table}")
        (final,) = twice.query(f"SELECT count() AS n FROM {table} FINAL")
        assert more["n"] >= 2 * once["n"], table
        assert final == once, table


def test_every_view_answers_the_same(demo: Client, twice: Client) -> None:
    sql = "SELECT name FROM system.tables WHERE database = {d:String} AND engine = 'View' ORDER BY name"
    for row in demo.query(sql, {"d": demo.database}):
        view = row["name"]
        given = f"({WITH_PARAMETERS[view]})" if view in WITH_PARAMETERS else ""
        first, second = (_sorted(client.query(f"SELECT * FROM {view}{given}")) for client in (demo, twice))
        assert first == second, view


def test_every_question_of_the_cookbook_answers_the_same(demo: Client, twice: Client) -> None:
    for match in QUERY.finditer(PAGE.read_text()):
        assert demo.query(match[3]) == twice.query(match[3]), match[2]


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_of_grafana_shows_the_same(panel: dict[str, Any], demo: Client, twice: Client) -> None:
    sql = filled(panel["targets"][0]["rawSql"])
    assert _sorted(demo.query(sql)) == _sorted(twice.query(sql))


def test_postmortems_and_the_roundup_are_the_same_bytes(
    demo: Client, twice: Client, postmortems: dict[str, Document]
) -> None:
    found = stored.newest(demo, 10)
    assert len(found) == 3
    assert stored.newest(twice, 10) == found
    for incident in found:
        second = postmortem(twice, incident.incident_id, incident.revision)
        for form in FORMATS.values():
            assert form.render(postmortems[incident.kind]) == form.render(second), incident.kind
    first_week, second_week = (roundup(client, "2026-W10") for client in (demo, twice))
    for render in ROUNDUP_FORMATS.values():
        assert render(first_week) == render(second_week)
    assert re.search(r"acme/seo-agent \| [\d,]{6,}", ROUNDUP_FORMATS["md"](first_week))


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    """Where a query states no order, its rows may come in any."""
    return sorted(map(repr, rows))
