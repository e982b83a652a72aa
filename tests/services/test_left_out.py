"""Where Kafka is missing, the run says so at its end with the reason; with CI=true it fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_KAFKA = "tests/services/test_kafka_server.py::test_fresh_topics_hold_nothing_of_the_test_before"


@pytest.mark.parametrize(("ci", "code", "outcome"), [("", 0, "1 skipped"), ("true", 1, "1 error")])
def test_without_java_the_last_lines_name_what_was_left_out_and_in_ci_it_is_a_failure(
    ci: str, code: int, outcome: str, tmp_path: Path
) -> None:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("AFTERMATH_", "PYTEST_", "JAVA"))}
    environment = keep | {"CI": ci, "PATH": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", OF_KAFKA],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout[-2_000:]
    summary = done.stdout[done.stdout.index("real parts") :]
    assert "Kafka: LEFT OUT, no real Kafka: AFTERMATH_TEST_KAFKA is not set; no Docker engine answers" in summary
    assert outcome in summary
