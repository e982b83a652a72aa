"""A worker as a process: told to stop it ends with 0 and has committed; when a stage fails it ends with 70 at once."""

from pathlib import Path

import pytest

from pipeline.settings import Settings
from schemas.codecs import TICK
from schemas.topics import SIGNALS, TRACES
from tests.faults.worker import Worker
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
STAGES = ("detect", "correlate")


def test_sigterm_ends_a_worker_with_everything_confirmed(kafka: Broker, settings: Settings, tmp_path: Path) -> None:
    def is_committed(stage: str, topic: str, offset: int) -> bool:
        return kafka.committed(settings.group(stage), topic)[0] == offset

    kafka.produce(TRACES.name, [TICK], stamp=1_770_000_000_000)
    worker = Worker(settings, STAGES, tmp_path / "log")
    try:
        worker.wait_until(lambda: is_committed("correlate", SIGNALS.name, 1))
        kafka.produce(TRACES.name, [TICK], stamp=1_770_000_060_000)
        worker.wait_until(lambda: is_committed("detect", TRACES.name, 2))
        worker.terminate()
        assert worker.exit_code() == 0, worker.tail()
    finally:
        worker.kill()


def test_a_stage_that_fails_ends_the_process_with_70_and_its_reason(
    kafka: Broker, settings: Settings, tmp_path: Path
) -> None:
    kafka.produce(SIGNALS.name, [b"not ours"])
    worker = Worker(settings, STAGES, tmp_path / "log")
    assert worker.exit_code() == 70, worker.tail()
    assert "Stage correlate failed at signals.v1/0 at offset 0" in worker.log.read_text()
    assert kafka.committed(settings.group("correlate"), SIGNALS.name)[0] == -1001
