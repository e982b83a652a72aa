"""The dashboard of the service's own health: every figure of the code is on it, and every query gives samples."""

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.health import METRICS
from tests.compose.compose_file import ROOT, environment, services, workers

GRAFANA = ROOT / "deploy/grafana/provisioning"
PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards/health.json").read_text())
PANELS = [pytest.param(panel, id=panel["title"]) for panel in DASHBOARD["panels"]]
ADDED = {"job", "instance"}  # by Prometheus, to every series
OTHERS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}  # of Prometheus and of its library
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool; apt-get install prometheus")


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"].replace("$__rate_interval", "5m") for target in panel["targets"]]


def names(text: str) -> set[str]:
    """Metrics in an expression."""
    found = set(re.findall(r"\b(?:aftermath|process)_\w+", text))
    return found | ({"up"} if re.search(r"\bup\{", text) else set())


def promtool(*words: str, folder: Path) -> None:
    done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def series(name: str) -> dict[str, str]:
    """One series as a worker would give it for an hour: a counter that grows, a gauge that stands."""
    labels = dict.fromkeys(METRICS[name][0], "x") if name in METRICS else {}
    shown = ",".join(
        f'{label}="{value}"' for label, value in (labels | {"job": "aftermath", "instance": "a:1"}).items()
    )
    return {"series": f"{name}{{{shown}}}", "values": "0+60x60" if name.endswith("_total") else "7x60"}


def test_every_figure_of_the_code_is_on_the_dashboard_and_no_other() -> None:
    used = names(" ".join(text for panel in DASHBOARD["panels"] for text in expressions(panel)))
    assert used - OTHERS == set(METRICS)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_groups_and_names_its_lines_by_labels_that_are_there(panel: dict[str, Any]) -> None:
    for target, text in zip(panel["targets"], expressions(panel), strict=True):
        known = set.union(*({*METRICS[name][0]} if name in METRICS else set() for name in names(text))) | ADDED
        grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", text) for label in labels.split(",")}
        matched = set(re.findall(r"(\w+)=", text))
        legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert grouped | matched <= known
        assert legend <= (grouped or known)
        assert panel["type"] == "stat" or target["legendFormat"]
    assert panel["description"]


@needs_promtool
def test_every_query_of_a_panel_gives_samples(tmp_path: Path) -> None:
    texts = [text for panel in DASHBOARD["panels"] for text in expressions(panel)]
    used = sorted(names(" ".join(texts)))
    case = {
        "interval": "1m",
        "input_series": [series(name) for name in used],
        "promql_expr_test": [
            {"expr": f"count({text}) > bool 0", "eval_time": "45m", "exp_samples": [{"labels": "{}", "value": 1}]}
            for text in texts
        ],
    }
    (tmp_path / "panels.test.yml").write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [case]}))
    promtool("test", "rules", "panels.test.yml", folder=tmp_path)


def test_the_dashboard_asks_the_prometheus_of_the_stack_and_its_panels_stand_side_by_side() -> None:
    (source,) = yaml.safe_load((GRAFANA / "datasources/prometheus.yaml").read_text())["datasources"]
    asked = [part["datasource"] for panel in DASHBOARD["panels"] for part in (panel, *panel["targets"])]
    assert {(part["type"], part["uid"]) for part in asked} == {(source["type"], source["uid"])}
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services()
    rows: dict[int, list[tuple[int, int]]] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        rows.setdefault(place["y"], []).append((place["x"], place["x"] + place["w"]))
    for spans in rows.values():
        assert (spans[0][0], spans[-1][1]) == (0, 24)
        assert all(left[1] == right[0] for left, right in pairwise(spans))


@needs_promtool
def test_prometheus_takes_its_configuration_and_scrapes_every_stage() -> None:
    promtool("check", "config", "prometheus.yml", folder=PROMETHEUS)
    told = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    (job,) = told["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    stages = {name for name, service in services().items() if service.get("command", [])[:2] == ["run", "--stage"]}
    assert set(found["names"]) == stages
    assert len(stages) == len(workers())
    assert {environment(worker)["AFTERMATH_HEALTH_PORT"] for worker in workers().values()} == {str(found["port"])}
    alerts = (PROMETHEUS / "aftermath.rules.yml").read_text()
    assert f'up{{job="{job["job_name"]}"}}' in alerts
    (alertmanager,) = told["alerting"]["alertmanagers"]
    for target in alertmanager["static_configs"][0]["targets"]:
        assert target.split(":")[0] in services()
