"""Workers of detect added to one group: what they do together, and how long nobody reads while partitions move.

    python -m bench.scale [--events 600000] [--workers 1,2,4] [--seconds 6]

On a real Kafka whose topics are filled before, for each number of workers: all but the last begin; when they read, the
last one joins (first pause); when each has its partitions, progress is measured for `--seconds`; then the last one is
told to stop (second pause). Workers are `aftermath run --stage detect` as they are shipped, seen through their own
/metrics. Each gets a core while there are cores besides the broker's; beyond that they share all, and the table says so.

A pause is the longest time in which the group as a whole read nothing; the steady column is the same figure while
nothing moved, and so what of a pause is only noise. Progress is lag that went away: what is read twice counts once.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.kafka_load import publish
from bench.spans import Load
from bench.throughput import machine
from pipeline.core.panes import TimeRules
from pipeline.settings import Settings
from schemas.topics import INPUTS
from tests.services.kafka_jars import JarKafka
from tests.services.kafka_server import free_ports, fresh_topics

LOOK_SECONDS = 0.1
SETTLE_SECONDS = 2.0  # after partitions have moved
WAIT_SECONDS = 120.0
SNAPSHOT_SECONDS = "5"
PARTITIONS = sum(topic.partitions for topic in INPUTS)
SAMPLE = re.compile(
    rb'^(?:aftermath_|process_)(read_total|lag_messages|partitions|cpu_seconds_total)(?:\{stage="detect"\})? (\S+)$',
    re.MULTILINE,
)


@dataclass(slots=True)
class Worker:
    """One process, and what it said of itself last."""

    process: "subprocess.Popen[bytes]"
    port: int
    figures: dict[str, float] = field(default_factory=dict)

    def look(self) -> bool:
        """Ask it, and say whether it answered; one that does not, yet or any more, keeps its figures."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                self.figures = {name.decode(): float(value) for name, value in SAMPLE.findall(answer.read())}
                return True
        except OSError:
            if self.process.poll() is not None:
                self.figures |= {"partitions": 0.0, "lag_messages": 0.0}
            return False

    def state(self) -> "State":
        """Raises RuntimeError where it does not answer."""
        if not self.look():
            raise RuntimeError("a worker does not answer: this machine is too busy to measure anything")
        said = self.figures
        return State(time.monotonic(), said["lag_messages"], said["read_total"], said["cpu_seconds_total"])


@dataclass(frozen=True, slots=True)
class State:
    """One worker at one moment."""

    at: float
    lag: float
    read: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Look:
    """The group at one moment."""

    at: float
    read: float
    partitions: tuple[float, ...]


class Group:
    """Workers of one group over one load."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self._kafka, self._folder, self._prefix = kafka, folder, f"scale-{uuid.uuid4().hex[:8]}"
        self.workers: list[Worker] = []

    def start(self, cores: set[int]) -> None:
        """One more."""
        (port,) = free_ports(1)
        name = f"{self._prefix}-{len(self.workers)}"
        given = {
            "AFTERMATH_KAFKA": self._kafka,
            "AFTERMATH_GROUP_PREFIX": self._prefix,
            "AFTERMATH_RECORDED": "true",
            "AFTERMATH_HEALTH_PORT": str(port),
            "AFTERMATH_JOURNAL_DIR": str(self._folder / name),
            "AFTERMATH_SNAPSHOT_SECONDS": SNAPSHOT_SECONDS,
            "POLARS_MAX_THREADS": "1",
        }
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.cli", "run", "--stage", "detect"],
                env=os.environ | given, stdout=log, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )  # fmt: skip
        self.workers.append(Worker(process, port))

    def watch(self, is_over: Callable[[Look], bool]) -> list[Look]:
        """Look until this is so. Raises RuntimeError where it takes too long."""
        looks: list[Look] = []
        while True:
            for worker in self.workers:
                worker.look()
            figures = [worker.figures for worker in self.workers]
            read = sum(one.get("read_total", 0.0) for one in figures)
            looks.append(Look(time.monotonic(), read, tuple(one.get("partitions", 0.0) for one in figures)))
            if is_over(looks[-1]):
                return looks
            if looks[-1].at - looks[0].at > WAIT_SECONDS:
                raise RuntimeError(f"not there after {WAIT_SECONDS:.0f} s: {looks[-1]}; logs in {self._folder}")
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """All of them, at once."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()


def longest_pause(looks: Sequence[Look]) -> float:
    """Seconds in which the sum of what was read did not grow."""
    longest, since, read = 0.0, looks[0].at, looks[0].read
    for look in looks:
        if look.read > read:
            since, read = look.at, look.read
        longest = max(longest, look.at - since)
    return longest


def run(kafka: str, number: int, load: Load, seconds: float, cores: list[int], folder: Path) -> str:
    """The line of one number of workers."""
    fresh_topics(Settings(kafka=kafka, recorded=True))
    publish(load, kafka, TimeRules())
    of_its_own = number < len(cores)
    group = Group(kafka, folder)

    def start(place: int) -> None:
        group.start({cores[1 + place]} if of_its_own else set(cores))

    def settled(look: Look) -> bool:
        mine = look.partitions
        return sum(mine) == PARTITIONS and min(mine[:number]) > 0 and look.read > 0

    try:
        joining = leaving = None
        for place in range(max(1, number - 1)):
            start(place)
        group.watch(lambda look: sum(look.partitions) == PARTITIONS and look.read > 0)
        if number > 1:
            start(number - 1)
            joining = longest_pause(group.watch(settled) + _for(group, SETTLE_SECONDS))
        began = [worker.state() for worker in group.workers]
        steady = _for(group, seconds)
        ended = [worker.state() for worker in group.workers]
        if not sum(state.lag for state in ended):
            raise RuntimeError("the load came to its end before the run did: give more --events")
        if number > 1:
            group.workers[-1].process.send_signal(signal.SIGTERM)
            rest = group.watch(lambda look: look.partitions[-1] == 0 and sum(look.partitions) == PARTITIONS)
            leaving = longest_pause(rest + _for(group, SETTLE_SECONDS))
    finally:
        group.stop()
    rate, read, cpu = 0.0, 0.0, 0.0
    for begin, end in zip(began, ended, strict=True):
        rate += (begin.lag - end.lag) / (end.at - begin.at)
        read += end.read - begin.read
        cpu += end.cpu - begin.cpu
    shown = [
        f"{rate:,.0f}",
        f"{cpu * 1e6 / read:.1f}",
        *(f"{pause:.1f} s" if pause is not None else "" for pause in (joining, leaving)),
    ]
    return (
        f"| {number} | {'one each' if of_its_own else f'all share {len(cores)}, with the broker'} | {' | '.join(shown)}"
        f" | {longest_pause(steady):.1f} s |"
    )


def _for(group: Group, seconds: float) -> list[Look]:
    end = time.monotonic() + seconds
    return group.watch(lambda look: look.at >= end)


def main() -> None:
    """Print one table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=600_000)
    arguments.add_argument("--concurrent", type=int, default=2_000)
    arguments.add_argument("--seconds", type=float, default=6.0)
    arguments.add_argument("--workers", default="1,2,4")
    arguments.add_argument("--seed", type=int, default=7)
    args = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that broker and workers are ended too
    cores = sorted(os.sched_getaffinity(0))
    kafka = JarKafka({cores[0]}, compiles_twice=True)
    print(machine())
    with tempfile.TemporaryDirectory(prefix="aftermath-scale-") as folder:
        try:
            kafka.start()
            print(f"{kafka.says}; {args.events:,} spans; load average {os.getloadavg()[0]:.1f} on {len(cores)} cores")
            print(
                "| workers | cores | events/s | CPU s a million | a worker joins | a worker leaves | steady |\n|---|---|---|---|---|---|---|"
            )
            for number in (int(text) for text in args.workers.split(",")):
                load = Load(args.events, args.concurrent, args.seed)
                print(run(kafka.bootstrap, number, load, args.seconds, cores, Path(folder)), flush=True)
        finally:
            kafka.remove()


if __name__ == "__main__":
    main()
