"""A worker as a process: told to stop it ends with 0 and has committed; when a stage fails it ends with 70 at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.settings import Settings
from schemas.codecs import TICK
from schemas.topics import SIGNALS, TRACES
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
ROOT = Path(__file__).parents[2]
WORKER = "import sys; from pipeline.app import run_worker; from pipeline.settings import load_settings; "
RUN = WORKER + "sys.exit(run_worker(load_settings(), ['detect', 'correlate']))"


def a_worker(settings: Settings) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "AFTERMATH_KAFKA": settings.kafka,
        "AFTERMATH_GROUP_PREFIX": settings.group_prefix,
        "AFTERMATH_RECORDED": "true",
        "AFTERMATH_COMMIT_INTERVAL_SECONDS": "0.1",
        "AFTERMATH_SNAPSHOT_SECONDS": "0.2",
    }
    return subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until_committed(kafka: Broker, group: str, topic: str, partition: int, offset: int) -> None:
    end = time.monotonic() + 25
    while kafka.committed(group, topic)[partition] != offset:
        assert time.monotonic() < end, "the worker does not read"


def test_sigterm_ends_a_worker_with_everything_confirmed(kafka: Broker, settings: Settings) -> None:
    kafka.produce(TRACES.name, [TICK], stamp=1_770_000_000_000)
    worker = a_worker(settings)
    try:
        wait_until_committed(kafka, settings.group("correlate"), SIGNALS.name, 0, 1)
        kafka.produce(TRACES.name, [TICK], stamp=1_770_000_060_000)
        wait_until_committed(kafka, settings.group("detect"), TRACES.name, 0, 2)
        worker.send_signal(signal.SIGTERM)
        _, errors = worker.communicate(timeout=25)
        assert worker.returncode == 0, errors
    finally:
        worker.kill()
        worker.wait()


def test_a_stage_that_fails_ends_the_process_with_70_and_its_reason(kafka: Broker, settings: Settings) -> None:
    kafka.produce(SIGNALS.name, [b"not ours"])
    worker = a_worker(settings)
    try:
        _, errors = worker.communicate(timeout=25)
        assert worker.returncode == 70, errors
        assert "Stage correlate failed at signals.v1/0 at offset 0" in errors
        assert kafka.committed(settings.group("correlate"), SIGNALS.name)[0] == -1001
    finally:
        worker.kill()
        worker.wait()
