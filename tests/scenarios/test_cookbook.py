"""docs/cookbook.md: every query is run on the demo's data, and its output is what the page says.

UPDATE_GOLDEN=1 writes the answers anew: read them before you commit.
"""

import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bench.views import QUERIES
from sinks.clickhouse.client import Client

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]
PAGE = Path("docs/cookbook.md")
# Without a time to live: few rows, asked for years later.
KEPT = (
    *("incidents", "incident_revisions", "incident_timeline", "incident_marks"),
    *("notifications", "acknowledgements", "controls", "dead_letter_replays", "limits_loosened"),
)
QUERY = re.compile(r"## (\d+)\. (.*?)\n\n```sql\n(.*?)\n```\n(?:\n```text\n.*?\n```\n)?", re.DOTALL)


def answer(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a plain table."""
    if not rows:
        return "(no rows)"
    cells = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "-"
    return "-" if value is None or value == "" else str(value)


def test_every_answer_is_that_of_the_demo(demo: Client) -> None:
    page = PAGE.read_text()

    def answered(match: re.Match[str]) -> str:
        number, question, sql = match.groups()
        return f"## {number}. {question}\n\n```sql\n{sql}\n```\n\n```text\n{answer(demo.query(sql))}\n```\n"

    written = QUERY.sub(answered, page)
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(written)
    assert written == PAGE.read_text()
    asked = [int(match[1]) for match in QUERY.finditer(page)]
    assert asked == list(range(1, page.count("\n## ") + 1))
    assert len(asked) >= 20


def test_every_view_is_explained_and_has_an_example(demo: Client) -> None:
    page = PAGE.read_text()
    sql = "SELECT name, comment FROM system.tables WHERE database = {d:String} AND engine = 'View'"
    views = {row["name"]: row["comment"] for row in demo.query(sql, {"d": demo.database})}
    assert len(views) > 20
    assert [name for name, comment in views.items() if not comment] == []
    assert [name for name in views if not re.search(rf"FROM {name}\b", page)] == []
    assert set(QUERIES) == set(views)  # and its time is measured
    measured = re.findall(r"(?m)^\| (\w+) \| \d+\.\d\d \| [\d,]+ \| ", Path("bench/README.md").read_text())
    assert sorted(measured) == sorted(views)


def test_every_table_and_column_is_explained_and_has_a_time_to_live_or_is_kept(demo: Client) -> None:
    known = {"d": demo.database}
    sql = "SELECT name, comment, create_table_query FROM system.tables WHERE database = {d:String} AND engine LIKE '%MergeTree'"
    tables = demo.query(sql, known)
    assert [row["name"] for row in tables if not row["comment"]] == []
    kept = {row["name"] for row in tables if "TTL stored_at" not in row["create_table_query"]}
    assert kept == {"schema_migrations", *KEPT}
    sql = """SELECT table, name FROM system.columns WHERE database = {d:String} AND comment = ''
        AND table IN (SELECT name FROM system.tables WHERE database = {d:String} AND engine LIKE '%MergeTree')"""
    assert demo.query(sql, known) == []
