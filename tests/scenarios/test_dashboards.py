"""The dashboards of Grafana: every query runs on the demo's data, gives rows there, and has the shape its panel needs."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from sinks.clickhouse.client import Client

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]
FOLDER = Path("deploy/grafana/provisioning")
FILES = [
    path for path in sorted((FOLDER / "dashboards").glob("*.json")) if path.stem != "health"
]  # that asks Prometheus
SINCE, UNTIL = "toDateTime(1772460000)", "toDateTime(1772462400)"  # 2026-03-02, 14:00 to 14:40
CHOSEN = {"incident": "d4dc4a3528be7b99", "agent": "capacity-agent"}
NOTHING_THERE = {"Against its usual hour", "Held back"}  # the story lasts half an hour, and holds nobody
PANELS = [
    pytest.param(panel, id=f"{path.stem}: {panel['title']}")
    for path in FILES
    for panel in json.loads(path.read_text())["panels"]
]


def filled(sql: str) -> str:
    """As the plugin would send it: its macros written out, variables as quoted text."""
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"(\1 >= {SINCE} AND \1 <= {UNTIL})", sql)
    sql = re.sub(r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 60 SECOND)", sql)
    sql = sql.replace("$__fromTime", SINCE).replace("$__toTime", UNTIL)
    sql = re.sub(r"\$\{(\w+):sqlstring\}", lambda match: f"'{CHOSEN[match[1]]}'", sql)
    assert "$" not in sql
    return sql


@pytest.mark.parametrize("panel", PANELS)
def test_the_query_of_a_panel_gives_what_it_shows(panel: dict[str, Any], demo: Client) -> None:
    (target,) = panel["targets"]
    rows = demo.query(filled(target["rawSql"]))
    assert bool(rows) == (panel["title"] not in NOTHING_THERE)
    if panel["type"] == "timeseries":
        assert isinstance(rows[0]["time"], datetime)
        assert any(isinstance(value, int | float) for value in rows[0].values())
    if panel["type"] == "stat":
        assert [len(row) for row in rows] == [1]
    for override in panel["fieldConfig"]["overrides"]:
        if rows:
            assert override["matcher"]["options"] in rows[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dashboard_reads_from_our_source_and_its_choices_are_there(path: Path, demo: Client) -> None:
    dashboard = json.loads(path.read_text())
    source = yaml.safe_load((FOLDER / "datasources" / "clickhouse.yaml").read_text())["datasources"][0]
    parts = [*dashboard["panels"], *dashboard["templating"]["list"]]
    assert {(part["datasource"]["type"], part["datasource"]["uid"]) for part in parts} == {
        (source["type"], source["uid"])
    }
    for variable in dashboard["templating"]["list"]:
        assert CHOSEN[variable["name"]] in [next(iter(row.values())) for row in demo.query(variable["query"])]
    taken = [(panel["gridPos"]["x"] + panel["gridPos"]["w"]) for panel in dashboard["panels"]]
    assert max(taken) == 24
    links = re.findall(r"/d/([\w-]+)\?var-(\w+)=", path.read_text())
    known = {json.loads(each.read_text())["uid"] for each in FILES}
    assert {uid for uid, _ in links} <= known
    assert {name for _, name in links} <= CHOSEN.keys()
