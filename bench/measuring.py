"""What every worker process of a benchmark has in common: one core, a stopwatch, memory over time, one JSON line out.

The clock starts with the first message and ends when the last one's work is done, so that neither imports nor joining a
group count. A worker prints one JSON object on stdout; bench/throughput.py reads it.
"""

import json
import os
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.split import peak_resident_mb, resident_mb

LOOK_SECONDS = 0.25
MIB_SETTLES = 0.3  # the share of a run after which memory should be flat: the slope is that of the rest


@dataclass(slots=True)
class Result:
    """One engine over one load. `parts`: microseconds of CPU an event."""

    engine: str
    events: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    peak_mb: float = 0.0
    slope_mb_a_minute: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    loops: list[str] = field(default_factory=list)  # sessions
    windows: int = 0  # one-minute sums, and all tokens in them
    tokens: int = 0
    notes: list[str] = field(default_factory=list)

    def print(self) -> None:
        """The line that the driver reads."""
        print(json.dumps(asdict(self)), flush=True)

    @staticmethod
    def parse(line: str) -> "Result":
        """The other end."""
        return Result(**json.loads(line))


class Stopwatch:
    """Wall, CPU of the process, and memory; `start` may be called again and then does nothing."""

    def __init__(self) -> None:
        self._wall = self._cpu = 0.0
        self._samples: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="memory samples", daemon=True)

    @property
    def runs(self) -> bool:
        """Whether it was started."""
        return self._wall > 0

    def start(self) -> None:
        """The first message is here."""
        if not self.runs:
            self._wall, self._cpu = time.perf_counter(), time.process_time()
            self._sampler.start()

    def stop(self, result: Result, idle: float = 0.0) -> None:
        """All is done, since `idle` seconds: write the figures into the result."""
        result.wall, result.cpu = time.perf_counter() - self._wall - idle, time.process_time() - self._cpu
        self._ended.set()
        self._sampler.join()
        result.peak_mb = peak_resident_mb()
        result.slope_mb_a_minute = slope(self._samples) * 60

    def _sample(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._samples.append((time.perf_counter() - self._wall, resident_mb()))


def slope(samples: list[tuple[float, float]]) -> float:
    """Least squares over what comes after the run has settled; 0 where that is too little to say."""
    rest = samples[int(len(samples) * MIB_SETTLES) :]
    if len(rest) < 4:
        return 0.0
    mean_x = sum(x for x, _ in rest) / len(rest)
    mean_y = sum(y for _, y in rest) / len(rest)
    spread = sum((x - mean_x) ** 2 for x, _ in rest)
    return sum((x - mean_x) * (y - mean_y) for x, y in rest) / spread


def pin(core: int) -> None:
    """This process, and every thread it will have, on one core. Call it before anything starts threads."""
    os.sched_setaffinity(0, {core})


def arguments_of(parser: Any) -> Any:
    """The arguments that every worker takes."""
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--topic", default="agent.traces.v1")
    parser.add_argument("--expect", type=int, required=True, help="messages in all topics read, ticks included")
    parser.add_argument("--core", type=int, required=True)
    args = parser.parse_args()
    pin(args.core)
    return args
