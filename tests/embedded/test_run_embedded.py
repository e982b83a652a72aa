"""`aftermath run --embedded --otlp`, and an agent that OpenTelemetry's own SDK instruments: the first five minutes."""

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.embedded
ROOT = Path(__file__).parents[2]
AFTERMATH = [sys.executable, "-m", "pipeline.cli"]
SECONDS = 90.0


def test_an_instrumented_agent_that_loops_becomes_an_incident(tmp_path: Path) -> None:
    quick = {"AFTERMATH_LATENESS_SECONDS": "4", "AFTERMATH_PANE_SECONDS": "1", "PYTHONPATH": str(ROOT)}
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AFTERMATH_", "OTEL_"))} | quick
    worker = subprocess.Popen(
        [*AFTERMATH, "run", "--embedded", "--otlp", "0", "--web", "0"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    guard = threading.Timer(SECONDS, worker.kill)  # else a line that never comes is waited for without end
    guard.start()
    try:
        assert worker.stdout is not None
        page, token = next(
            (found[1], found[2])
            for line in worker.stdout
            if (found := re.search(r'"link": "(http\S+/)\?token=([^"]+)"', line))
        )
        endpoint = next(
            found[1] for line in worker.stdout if (found := re.search(r"over HTTP: (http://[^\s\"]+)", line))
        )
        subprocess.run(
            [sys.executable, ROOT / "examples" / "otel_agent.py", "--steps", "8", "--pause", "0.1"],
            env=env | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"},
            check=True,
            timeout=60,
        )
        assert any("support-agent repeats ticket.read" in line for line in worker.stdout), "no page came"
        listed = subprocess.run(
            [*AFTERMATH, "incidents", "list", "--json"],
            cwd=tmp_path,
            env=env,
            check=True,
            capture_output=True,
            timeout=60,
        )
        (incident,) = json.loads(listed.stdout)
        asked = urllib.request.Request(f"{page}api/overview", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            shown = json.load(answer)
        assert [item["id"] for item in shown["open"] + shown["recent"]] == [incident["incident_id"]]
        assert "support-agent" in [agent["agent_id"] for agent in shown["agents"]]
        assert (incident["kind"], incident["agent_id"]) == ("feedback_loop", "support-agent")
    finally:
        guard.cancel()
        worker.terminate()
        worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert not (tmp_path / ".aftermath" / "demo.json").exists()
