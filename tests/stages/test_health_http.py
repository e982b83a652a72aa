"""/metrics, /healthz and /readyz of stages on a broker: every figure is that of the stage, and probes tell the truth."""

import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.health import METRICS
from pipeline.health_http import health_application
from pipeline.listening import Port
from pipeline.settings import Settings
from pipeline.stages.archive import Archive
from pipeline.stages.base import StageError
from pipeline.stages.detect import Detect
from schemas.topics import TRACES
from tests.builders import T0, at
from tests.stages.conftest import Sink, Start, until
from tests.stages.kafka import Broker
from tests.stages.test_detect import GARBAGE, a_span

pytestmark = pytest.mark.embedded


async def ask(port: Port, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(port.url + path) as answer:
        return answer.status, await answer.text()


async def figures(port: Port) -> dict[tuple[str, ...], float]:
    """Name and label values -> value."""
    status, text = await ask(port, "/metrics")
    assert status == 200
    families = list(text_string_to_metric_families(text))
    assert set(METRICS) <= {f"{f.name}_total" if f.type == "counter" else f.name for f in families}
    samples = [sample for family in families for sample in family.samples if sample.name in METRICS]
    return {(s.name, *(s.labels[label] for label in METRICS[s.name][0])): s.value for s in samples}


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[dict[str, Any]], Awaitable[Port]]]:
    ports: list[Port] = []

    async def start(stages: dict[str, Any]) -> Port:
        ports.append(Port(health_application(stages), "127.0.0.1", 0, "AFTERMATH_HEALTH_PORT"))
        await ports[-1].start()
        return ports[-1]

    yield start
    for port in ports:
        await port.stop()


async def test_what_is_scraped_is_what_the_stages_did_and_what_keeps_them_from_it(
    kafka: Broker, settings: Settings, sink: Sink, started: Start, serve: Callable[[dict[str, Any]], Awaitable[Port]]
) -> None:
    errors: list[StageError] = []
    detect = Detect(settings, errors.append, limits=Limits(), rules=TimeRules(), now=lambda: T0)
    archive = Archive(settings, errors.append, writer=sink, rules=TimeRules())
    stages: dict[str, Any] = {"detect": detect, "archive": archive}
    port = await serve(stages)
    status, text = await ask(port, "/readyz")
    assert (status, "detect was given no partitions yet" in text) == (503, True)
    assert (await ask(port, "/healthz"))[0] == 200, "joining is no reason to restart"

    sink.is_down = True
    kafka.produce(TRACES.name, [a_span(1), GARBAGE, a_span(2), a_span(3600)], stamp=at(2) // 1000)
    await started(detect)
    await started(archive)
    await until(lambda: detect.progress.confirmed and archive.waiting_on and detect.saved())
    found = await figures(port)
    assert found["aftermath_messages_total", "detect", TRACES.name, "accepted"] == 2
    assert found["aftermath_messages_total", "detect", TRACES.name, "late"] == 1
    assert found["aftermath_messages_total", "detect", TRACES.name, "rejected"] == 1
    assert found["aftermath_unaccounted_messages", "detect"] == 0
    assert sum(found[key] for key in found if key[:2] == ("aftermath_dead_letters_total", "detect")) == 1
    assert found["aftermath_read_total", "detect"] == 4
    assert found["aftermath_newest_record_seconds", "detect"] == at(2) / 1_000_000
    assert found["aftermath_snapshot_bytes", "detect"] > 100
    assert found["aftermath_snapshot_age_seconds", "detect"] >= 0
    assert (found["aftermath_lag_messages", "archive"], found["aftermath_waiting", "archive"]) == (4, 1)
    assert found["aftermath_in_flight_bytes", "archive"] > 0
    assert found["aftermath_write_retries_total", "archive"] >= 1
    assert found["aftermath_rows_ahead_total", "detect", TRACES.name] == 1
    assert found["aftermath_operator_seconds_total", "detect"] > 0
    status, text = await ask(port, "/readyz")
    assert (status, "archive waits: ClickHouse is down" in text) == (503, True)
    assert (await ask(port, "/healthz"))[0] == 200, "a dependency that is down is no reason to restart"

    sink.is_down = False
    await until(lambda: archive.lag() == 0)
    found = await figures(port)
    assert found["aftermath_rows_written_total", "archive", "agent_traces"] == 3
    assert 1 <= found["aftermath_writes_total", "archive", "agent_traces"] <= 3
    assert (await ask(port, "/readyz"))[0] == 200

    detect.failed(ValueError("made for the test"), "nowhere")
    status, text = await ask(port, "/healthz")
    assert (status, "detect: Stage detect failed" in text) == (503, True)
    assert (await figures(port))["aftermath_failed", "detect"] == 1


@pytest.mark.fault("F44")
@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool; apt-get install prometheus")
def test_the_alert_rules_on_aftermath_itself_do_what_their_tests_say() -> None:
    folder = Path("deploy/prometheus")
    for words in (["check", "rules", "aftermath.rules.yml"], ["test", "rules", "aftermath.rules.test.yml"]):
        done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    rules, tests = (
        yaml.safe_load((folder / name).read_text()) for name in ("aftermath.rules.yml", "aftermath.rules.test.yml")
    )
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tested = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in tested if case.get("exp_alerts")} == alerts, "each fires in a test"
    named = set(re.findall(r"aftermath_[a-z_]+", (folder / "aftermath.rules.yml").read_text()))
    assert named <= set(METRICS), "an alert on a metric that does not exist never fires"


def test_the_table_of_what_to_do_names_every_metric_and_no_other() -> None:
    page = Path("pipeline/health.md").read_text()
    assert set(re.findall(r"^\| `(aftermath_\w+)`", page, flags=re.MULTILINE)) == set(METRICS)
