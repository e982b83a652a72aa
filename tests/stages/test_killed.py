"""A worker that is killed in the middle, at whatever moment, tells the same incidents and pages as one that never was."""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alerts.outbox import Outbox
from alerts.rules.files import SHIPPED, load_rules
from pipeline.backtest import Backtest
from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.limits import load_limits
from pipeline.offsets import Offsets
from pipeline.player import Player
from pipeline.settings import Settings
from schemas.codecs.single import decode, decode_incident
from schemas.incidents import Incident
from schemas.topics import INCIDENTS, INPUTS, NOTIFICATIONS, SIGNALS, TRACES
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
ROOT = Path(__file__).parents[2]
LIMITS = ROOT / "pipeline/demo/limits.yml"
RUN = """
import logging, sys
from pipeline.app import run_worker
from pipeline.settings import load_settings
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
settings = load_settings().model_copy(update={"session_timeout_seconds": 2})
sys.exit(run_worker(settings, ["detect", "correlate", "notify"]))
"""
DEADLINE_SECONDS = 60.0
READS = {"detect": INPUTS, "correlate": (SIGNALS,), "notify": (INCIDENTS,)}


class Worker:
    """detect, correlate and notify in a process of their own; what it logs goes to a file."""

    def __init__(self, settings: Settings, log: Path, fail_at: str = "") -> None:
        self.log = log
        environment = {
            **os.environ,
            "AFTERMATH_KAFKA": settings.kafka,
            "AFTERMATH_GROUP_PREFIX": settings.group_prefix,
            "AFTERMATH_RECORDED": "true",
            "AFTERMATH_LIMITS_FILE": str(LIMITS),
            "AFTERMATH_COMMIT_INTERVAL_SECONDS": "0.1",
            "AFTERMATH_SNAPSHOT_SECONDS": "0.2",
            "AFTERMATH_FAIL_AT": fail_at,
        }
        with log.open("w") as out:
            command = [sys.executable, "-c", RUN]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert self.process.poll() is None, self.log.read_text()[-3_000:]
            assert time.monotonic() < end, f"not so in time: {condition}\n{self.log.read_text()[-3_000:]}"
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def bare(incident: Incident) -> str:
    """All but where in the log its evidence stands, which depends on the number of partitions."""
    fields = incident.model_dump(mode="json")
    for item in fields["evidence"]:
        del item["partition"], item["offset"]
    return json.dumps(fields, sort_keys=True)


def revisions(kafka: Broker) -> dict[tuple[str, int], set[str]]:
    """Every revision that was ever written, and all the contents it had."""
    found: dict[tuple[str, int], set[str]] = {}
    for value in kafka.values(INCIDENTS.name):
        incident = decode_incident(value)
        found.setdefault((incident.incident_id, incident.revision), set()).add(bare(incident))
    return found


def pages(kafka: Broker) -> set[str]:
    told = [decode(value)[1] for value in kafka.values(NOTIFICATIONS.name)]
    return {item["dedup_key"] for item in told if item["state"] == "sent"}


def expected_pages(backtest: Backtest) -> set[str]:
    outbox, keys = Outbox(load_rules(SHIPPED)), set()
    for revision in backtest.outcomes.revisions:
        for notification in outbox.decide(revision):
            keys.add(notification.dedup_key)
    return keys


@pytest.fixture
def expected(kafka: Broker, settings: Settings) -> Backtest:
    """The story lies in the topics; what a backtest finds in it."""
    backtest = Backtest(load_limits(LIMITS))
    with recording_of(story()) as recording:
        for chunk in recording.chunks():
            backtest.read(chunk)
        backtest.finish()
        Player(kafka.bootstrap, pane=settings.pane, lateness=settings.lateness, readers=()).play(recording.messages())
    return backtest


def progress(kafka: Broker, settings: Settings) -> int:
    return sum(max(0, offset) for offset in kafka.committed(settings.group("detect"), TRACES.name))


def test_killed_between_chunks_and_at_random_it_tells_the_same_incidents_and_pages(
    kafka: Broker, settings: Settings, expected: Backtest, tmp_path: Path
) -> None:
    first = Worker(settings, tmp_path / "first", "snapshot.manifest")  # whole, and not yet committed
    try:
        assert first.process.wait(DEADLINE_SECONDS) == 137, first.log.read_text()[-3_000:]
    finally:
        first.kill()

    second = Worker(settings, tmp_path / "second")
    try:
        second.wait_until(lambda: progress(kafka, settings) > 0)
        time.sleep(random.uniform(0, 0.8))  # any moment will do: nothing is waited for
    finally:
        second.kill()

    offsets = Offsets(kafka.bootstrap)

    def behind() -> dict[str, object]:
        """What is not confirmed, by stage: what is committed and what there is."""
        found = {stage: (offsets.committed(settings.group(stage), of), offsets.ends(of)) for stage, of in READS.items()}
        return {stage: pair for stage, pair in found.items() if pair[0] != pair[1]}

    third = Worker(settings, tmp_path / "third")
    try:
        third.wait_until(lambda: not behind())
    except AssertionError as error:
        raise AssertionError(f"{behind()}") from error
    finally:
        third.kill()
        offsets.close()
    assert re.findall(r"detect/agent\.traces\.v1/\d goes on from its snapshot at offset [1-9]", third.log.read_text())
    found = revisions(kafka)
    assert all(len(contents) == 1 for contents in found.values()), "a revision was said in two ways"
    newest = {name: max(number for other, number in found if other == name) for name, _ in found}
    assert {name: found[name, number] for name, number in newest.items()} == {
        incident.incident_id: {bare(incident)} for incident in expected.outcomes.incidents
    }
    assert len(newest) == 3
    assert pages(kafka) == expected_pages(expected)
