"""A04, A13, A20: a worker as a process: it opens no port, outlives a bomb, and its log cannot be forged."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer

from schemas.codecs.single import decode, encode
from schemas.topics import DEAD_LETTERS, INCIDENTS, SIGNALS, TRACES
from tests.abuse import payloads
from tests.builders import T0, span
from tests.stages.kafka import Broker

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
AFTERMATH = [sys.executable, "-m", "pipeline.cli"]
SECONDS = 40.0
BOMB_BYTES = 128_000_000
CEILING_BYTES = 64_000_000  # what one message may cost a worker beside what it has anyway
LISTENING = "0A"
FORGED = "\x1b[2J\x1b]0;owned\x07\r\n2026-03-02 14:00:00 INFO aftermath: all is well"


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@dataclass
class Worker:
    """One process and the file its log goes to."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_bytes().decode("utf-8", "backslashreplace")

    def peak_bytes(self) -> int:
        """The most memory it has had."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def ports(self) -> list[int]:
        """The ports that it listens on."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        sockets = {os.readlink(entry) for entry in folder.iterdir() if os.path.islink(entry)}
        found = []
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{self.process.pid}/net/{table}").read_text().splitlines()[1:]:
                parts = line.split()
                if parts[3] == LISTENING and f"socket:[{parts[9]}]" in sockets:
                    found.append(int(parts[1].rpartition(":")[2], 16))
        return found


@pytest.fixture(scope="module")
def kafka() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.close()


def start(kafka: Broker, folder: Path, *stages: str) -> Worker:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AFTERMATH_")},
        "PYTHONPATH": str(ROOT),
        "AFTERMATH_KAFKA": kafka.bootstrap,
        "AFTERMATH_CLICKHOUSE_URL": "http://127.0.0.1:1",
        "AFTERMATH_GROUP_PREFIX": f"abuse-{uuid.uuid4().hex[:8]}",
        "AFTERMATH_RECORDED": "true",
        "AFTERMATH_COMMIT_INTERVAL_SECONDS": "0.1",
        "AFTERMATH_SNAPSHOT_SECONDS": "0.2",
        "AFTERMATH_SESSION_TIMEOUT_SECONDS": "6",
    }
    words = [word for stage in stages for word in ("--stage", stage)]
    log = folder / "worker.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*AFTERMATH, "run", *words], cwd=folder, env=environment, stdout=stream, stderr=stream
        )
    return Worker(process, log)


def letters(kafka: Broker) -> list[dict[str, object]]:
    return [decode(value)[1] for value in kafka.values(DEAD_LETTERS.name)]


@pytest.fixture(scope="module")
def bombed(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, int, list[int]]]:
    """All stages in one worker, after a batch of a few kilobytes that unfolds; its memory before, and its ports."""
    worker = start(kafka, tmp_path_factory.mktemp("bombed"))
    try:
        good = json.dumps(span(0, span_id="before")).encode()
        kafka.produce(TRACES.name, [good, b"unreadable"], stamp=T0 // 1000)
        until(lambda: len(letters(kafka)) == 1 or worker.process.poll() is not None, "the worker does not read")
        assert worker.process.poll() is None, worker.text()
        before, ports = worker.peak_bytes(), worker.ports()
        producer = Producer(
            {
                "bootstrap.servers": kafka.bootstrap,
                "compression.type": "zstd",
                "message.max.bytes": BOMB_BYTES + 1_000_000,
                "queue.buffering.max.kbytes": 2 * BOMB_BYTES // 1024,
                "log_level": 0,
            }
        )
        producer.produce(TRACES.name, bytes(BOMB_BYTES), partition=0, timestamp=T0 // 1000)
        assert producer.flush(30) == 0
        kafka.produce(TRACES.name, [b"unreadable too"], stamp=T0 // 1000)
        until(lambda: len(letters(kafka)) == 3 or worker.process.poll() is not None, "the worker does not read on")
        yield worker, before, ports
    finally:
        worker.process.kill()
        worker.process.wait()


def test_a_batch_that_unfolds_to_much_is_refused_and_the_worker_reads_on(
    kafka: Broker, bombed: tuple[Worker, int, list[int]]
) -> None:
    worker, _, _ = bombed
    assert worker.process.poll() is None
    assert [letter["reason"] for letter in letters(kafka)] == ["unknown_encoding", "too_large", "unknown_encoding"]


def test_a_batch_that_unfolds_to_much_costs_little_memory(bombed: tuple[Worker, int, list[int]]) -> None:
    worker, before, _ = bombed
    assert worker.peak_bytes() - before < CEILING_BYTES


def test_a_worker_listens_on_no_port(bombed: tuple[Worker, int, list[int]]) -> None:
    """Faust would open 6066 on every address, without a password."""
    worker, _, ports = bombed
    assert ports == []
    assert worker.ports() == []


def test_the_list_of_ports_sees_a_port_where_there_is_one(tmp_path: Path) -> None:
    """Else the test above would be content with anything."""
    script = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        port = int(process.stdout.readline())
        assert Worker(process, tmp_path / "log").ports() == [port]
        process.stdin.close()


def hostile_incident() -> bytes:
    row = {
        "incident_id": FORGED,
        "fingerprint": FORGED,
        "revision": 1,
        "tenant": FORGED,
        "kind": FORGED,
        "status": FORGED,
        "severity": FORGED,
        "session_ids": "[]",
        "title": FORGED,
        "started_at": T0,
        "detected_at": T0,
        "updated_at": T0,
        "summary": FORGED,
        "rule_version": FORGED,
        "attribution": json.dumps({"verdict": FORGED, "probability": 1.0, "ranked": []}),
    }
    return encode("incident", row)


@pytest.mark.parametrize(
    ("stage", "topic", "value"),
    [
        ("notify", INCIDENTS.name, hostile_incident()),
        ("correlate", SIGNALS.name, FORGED.encode()),
    ],
    ids=["an incident", "a signal"],
)
def test_what_ends_a_stage_is_said_without_its_control_characters(
    tmp_path: Path, stage: str, topic: str, value: bytes
) -> None:
    """Internal topics are ours alone; what stands there and cannot be read ends the stage, for nothing is skipped."""
    broker = Broker()
    broker.produce(topic, [value], stamp=T0 // 1000)
    worker = start(broker, tmp_path, stage)
    try:
        assert worker.process.wait(SECONDS) == 70, worker.text()
        said = worker.text()
        assert f"Stage {stage} failed at {topic}/0 at offset 0" in said
        assert {sign for sign in said if ord(sign) < 32} <= {"\n", "\t"}
        assert not any(line.startswith("2026-03-02 14:00:00 INFO aftermath: all is well") for line in said.splitlines())
    finally:
        worker.process.kill()
        worker.process.wait()
        broker.close()


def test_hostile_messages_are_not_logged_one_by_one(kafka: Broker, bombed: tuple[Worker, int, list[int]]) -> None:
    worker, _, _ = bombed
    before = worker.text()
    sent = 40
    hostile = [FORGED.encode() + b"%d" % number for number in range(sent)]
    kafka.produce(TRACES.name, [part for value in hostile for part in (value, b'{"type": "tick"}')], stamp=T0 // 1000)
    until(lambda: len(letters(kafka)) == 3 + sent, "the worker does not read on")
    said = worker.text().removeprefix(before)
    assert "\x1b" not in said
    assert said.count("\n") < sent / 4


def test_a_length_out_of_range_is_not_logged_each_time(kafka: Broker, bombed: tuple[Worker, int, list[int]]) -> None:
    worker, _, _ = bombed
    had, before = len(letters(kafka)), worker.text()
    (payload,) = (item for item in payloads.messages() if item.name == "a text of 2^62 bytes")
    for _ in range(5):
        kafka.produce(TRACES.name, [payload.value], stamp=T0 // 1000)
    until(lambda: len(letters(kafka)) == had + 5, "the worker does not read on")
    assert "panicked" not in worker.text().removeprefix(before)
