"""Faults at random under load, and a worker that runs for long. A few seconds in `make test`; `make soak` takes its time.

AFTERMATH_SOAK_SECONDS is how long (half an hour), AFTERMATH_SOAK_SEED plays a run again.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.embedded.broker import FETCH, HEARTBEAT, OFFSET_COMMIT
from pipeline.settings import Settings
from tests.faults.broker import FaultyBroker
from tests.faults.load import Load
from tests.faults.sink import FaultySink
from tests.faults.worker import Worker

pytestmark = pytest.mark.embedded
SOAK_SECONDS = float(os.environ.get("AFTERMATH_SOAK_SECONDS", "1800"))
SEED = int(os.environ.get("AFTERMATH_SOAK_SEED", "0")) or random.randrange(1, 1 << 31)
LONG = pytest.param(SOAK_SECONDS, marks=[pytest.mark.soak, pytest.mark.timeout(SOAK_SECONDS + 300)])
DRAIN_SECONDS = 90.0
MB = 1 << 20
MOST_GROWTH_MB = 25  # of a worker after its first third; Python and its allocators are never quite still


def said_last(worker: Worker, code: int) -> str:
    """Why it ended with this code. A worker that ends by itself and does not say why is a fault of its own."""
    lines = [line for line in worker.log.read_text().splitlines() if f"exit {code}: " in line]
    assert lines, f"it ended with {code} and did not say why:\n{worker.tail()}"
    return f"{worker.log.name}: {lines[-1]}"


class Supervised:
    """A worker that is started again whenever it ends, and everything that is done to it."""

    def __init__(self, settings: Settings, folder: Path, draw: random.Random) -> None:
        self._settings, self._folder, self._draw = settings, folder, draw
        self.started = 0
        self.ended: Counter[int] = Counter()  # exit codes
        self.reasons: list[str] = []  # what each that ended with an error of its own said last
        self.worker = self._start()

    def _start(self) -> Worker:
        self.started += 1
        return Worker(self._settings, ["archive"], self._folder / f"worker-{self.started}")

    def look(self) -> None:
        """As a supervisor does."""
        code = self.worker.ended
        if code is not None:
            self.ended[code] += 1
            if code > 0:
                self.reasons.append(said_last(self.worker, code))
            self.worker = self._start()

    def kill(self) -> None:
        self.worker.kill()

    def terminate(self) -> None:
        self.worker.terminate()
        self.worker.exit_code()

    def freeze(self) -> None:
        self.worker.freeze()
        time.sleep(self._draw.uniform(0.2, 3.0))
        self.worker.thaw()


def broker_away(kafka: FaultyBroker, draw: random.Random) -> None:
    kafka.set_down()
    time.sleep(draw.uniform(0.2, 3.0))
    kafka.set_up()


def broker_slow(kafka: FaultyBroker, draw: random.Random) -> None:
    kafka.slow_down(300)
    time.sleep(draw.uniform(0.5, 2.0))
    kafka.slow_down(0)


def broker_refuses(kafka: FaultyBroker, draw: random.Random) -> None:
    api, code = draw.choice([(OFFSET_COMMIT, 14), (OFFSET_COMMIT, 25), (FETCH, 6), (FETCH, -1), (HEARTBEAT, 25)])
    kafka.fail(api, *[code] * draw.randint(1, 3))


def sink_away(faulty: FaultySink, draw: random.Random) -> None:
    faulty.close_port()
    time.sleep(draw.uniform(0.2, 2.0))
    faulty.open_port()


def sink_refuses(faulty: FaultySink, draw: random.Random) -> None:
    """The next few inserts."""
    upto = len(faulty.inserts) + draw.randint(1, 3)
    answer = draw.choice(["500", "503", "code 243", "write, then drop", "slow 0.5"])
    faulty.plan = lambda number: answer if number < upto else "pass"


@pytest.mark.fault("F01", "F34")
@pytest.mark.parametrize("seconds", [12.0, LONG])
def test_whatever_happens_at_random_every_row_arrives_and_is_seen_once(
    kafka: FaultyBroker, at_sink: Settings, faulty: FaultySink, load: Load, tmp_path: Path, seconds: float
) -> None:
    print(f"AFTERMATH_SOAK_SEED={SEED}")
    draw = random.Random(SEED)
    supervised = Supervised(at_sink, tmp_path, draw)
    faults: dict[str, Callable[[], None]] = {
        "killed": supervised.kill,
        "told to stop": supervised.terminate,
        "frozen": supervised.freeze,
        "broker away": lambda: broker_away(kafka, draw),
        "broker slow": lambda: broker_slow(kafka, draw),
        "broker refuses": lambda: broker_refuses(kafka, draw),
        "sink away": lambda: sink_away(faulty, draw),
        "sink refuses": lambda: sink_refuses(faulty, draw),
    }
    happened: Counter[str] = Counter()
    try:
        load.produce(40)
        supervised.worker.wait_until(lambda: load.is_committed(at_sink.group("archive")))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            fault = draw.choice(sorted(faults))
            faults[fault]()
            happened[fault] += 1
            supervised.look()
            load.produce(draw.randint(1, 200))
            time.sleep(draw.uniform(0.0, 1.5))
        faulty.plan = lambda _: "pass"
        end = time.monotonic() + DRAIN_SECONDS
        while not load.is_committed(at_sink.group("archive")):
            supervised.look()
            assert time.monotonic() < end, f"not drained; seed {SEED}\n{supervised.worker.tail()}"
            time.sleep(0.1)
    finally:
        supervised.kill()
    print(f"{dict(happened)}, workers {supervised.started}, ended by themselves {dict(supervised.ended)}")
    print("\n".join(supervised.reasons))
    assert sum(happened.values()) >= 3
    assert set(faulty.rows()) == load.produced, f"seed {SEED}"
    assert set(faulty.rows().values()) == {1}


def footprint(process: int) -> tuple[int, int, int]:
    """Threads, open files, and bytes in memory of a process."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in status)
    return int(found["Threads"]), len(os.listdir(f"/proc/{process}/fd")), int(found["VmRSS"].split()[0]) * 1024


@pytest.mark.fault("F34")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="what a process uses is read from /proc")
@pytest.mark.parametrize("seconds", [6.0, LONG])
def test_a_worker_that_runs_on_uses_no_more_than_at_first(
    at_sink: Settings, faulty: FaultySink, load: Load, tmp_path: Path, seconds: float
) -> None:
    worker = Worker(at_sink, ["archive"], tmp_path / "log")
    seen: list[tuple[int, int, int]] = []
    try:
        load.produce(400)
        worker.wait_until(lambda: load.is_committed(at_sink.group("archive")))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            load.produce(200)
            seen.append(footprint(worker.pid))
            time.sleep(0.2)
        worker.wait_until(lambda: load.is_committed(at_sink.group("archive")))
    finally:
        worker.kill()
    third = len(seen) // 3
    for part, (name, bound) in enumerate((("threads", 2), ("files", 4), ("memory", MOST_GROWTH_MB * MB))):
        first = max(row[part] for row in seen[: third + 1])
        assert max(row[part] for row in seen[2 * third :]) <= first + bound, f"{name} grew: {seen[:: third or 1]}"
    assert set(faulty.rows()) == load.produced
