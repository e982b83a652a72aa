"""What the detect operator costs without Kafka: CPU an event by part, how it grows with sessions, bytes a session.

One thread does what the detect stage does with a batch: decode it, give it to the operator of its partition with all
detectors on, encode what comes out. The batches are made in another process: what the load itself remembers of a
million sessions would be counted with ours. The loops found are compared with those that were planted.
"""

import gc
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from bench.kafka_load import batches
from bench.spans import Load, Spans, Truth
from bench.split import DECODE, EMIT, Split, peak_resident_mb, resident_mb
from pipeline.core.panes import TimeRules
from pipeline.operators.detect import DetectOperator
from schemas.codecs import Batch
from schemas.codecs.blocks import decode_batch
from schemas.codecs.single import encode_records
from schemas.signals import Reduced, Signal
from schemas.topics import SIGNALS, TRACES


@dataclass(slots=True)
class Cost:
    """Of one pass: events, seconds of CPU and wall in the timed part, what was found, memory."""

    load: Load
    events: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    split: Split = field(default_factory=Split)
    rows: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    looping: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    sessions: int = 0
    resident: list[float] = field(default_factory=list)  # MB, at each tenth of the pass
    peak: float = 0.0

    @property
    def micros(self) -> float:
        """CPU an event."""
        return self.cpu * 1e6 / max(1, self.events)


class Detection:
    """The operators of all partitions of agent.traces.v1."""

    def __init__(self, rules: TimeRules, split: Split) -> None:
        self._operators = [
            DetectOperator(TRACES.name, number, "bench", SIGNALS.partitions, None, rules)
            for number in range(TRACES.partitions)
        ]
        self._decode = split.timed(DECODE, decode_batch)
        self._encode = split.timed(EMIT, lambda messages: encode_records([message for _, message in messages]))

    def read(self, batch: Batch, cost: Cost) -> None:
        """One batch, as the stage takes it."""
        wall, cpu = time.perf_counter(), time.process_time()
        detected = self._operators[batch.partition].read(self._decode(batch, "agent_span"))
        self._encode(detected.messages)
        cost.cpu += time.process_time() - cpu
        cost.wall += time.perf_counter() - wall
        cost.events += len(batch.values)
        for _, message in detected.messages:
            row = message.row if isinstance(message, Reduced) else message
            cost.rows[type(row).__name__] += 1
            if isinstance(row, Signal):
                cost.signals[row.type] += 1
                if row.type.startswith("feedback_loop."):
                    cost.looping.add(str(row.session_id))


class Elsewhere:
    """The batches of a load, made in a process of its own: iterate once, then look at `truth`."""

    def __init__(self, load: Load, rules: TimeRules) -> None:
        self.truth = Truth()
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe(duplex=False)
        self._process = context.Process(target=_make, args=(there, load, rules), daemon=True)
        self._process.start()
        there.close()

    def __iter__(self) -> Iterator[Batch]:
        while isinstance(found := self._pipe.recv(), Batch):
            yield found
        self.truth = found
        self._process.join()


def _make(pipe: Connection, load: Load, rules: TimeRules) -> None:
    spans = Spans(load)
    for batch in batches(spans, rules):
        pipe.send(batch)
    pipe.send(spans.truth)


@contextmanager
def timers() -> Iterator[Split]:
    """Timers on the operator's parts; taken away at the end."""
    split = Split()
    split.wrap_operator()
    try:
        yield split
    finally:
        split.undo()


def measure(load: Load, *, warm_up: int = 0) -> Cost:
    """One pass over a load; the first `warm_up` events are worked on and not counted."""
    rules = TimeRules()
    with timers() as split:
        detection, made = Detection(rules, split), Elsewhere(load, rules)
        gc.collect()
        empty, cost, unmeasured, tenth = resident_mb(), Cost(load), Cost(load), max(1, load.events // 10)
        done = 0
        for batch in made:
            is_warm = done >= warm_up
            if not is_warm:
                split.reset()
            detection.read(batch, cost if is_warm else unmeasured)
            if (done + len(batch.values)) // tenth > done // tenth:
                cost.resident.append(resident_mb() - empty)
            done += len(batch.values)
        cost.split, cost.sessions, cost.peak = split, made.truth.sessions, peak_resident_mb()
    cost.wrong = faults(made.truth, cost.looping | unmeasured.looping)
    return cost


def faults(truth: Truth, looping: set[str]) -> list[str]:
    """What the detectors missed or made up."""
    missed, made_up = truth.loops.keys() - looping, looping - truth.loops.keys()
    return [f"missed the loop of {name}" for name in sorted(missed)] + [
        f"a loop of {name} that is none" for name in sorted(made_up)
    ]


def report(cost: Cost) -> None:
    """The split of one pass."""
    named = sum(cost.split.nanos.values()) / 1e9
    print(
        f"operator alone: {cost.events:,} records, {cost.load.concurrent:,} sessions at a time, {cost.sessions:,} in all"
    )
    print(f"  {1e6 / cost.micros:>10,.0f} events/s of CPU; {cost.micros:.2f} us an event, {cost.wall:.1f} s of wall")
    for part, micros in cost.split.micros_an_event(cost.events).items():
        calls = cost.split.calls[part]
        print(f"  {micros:>10.2f} us  {100 * micros / cost.micros:>4.0f}%  {part}  ({calls:,} calls)")
    print(f"  {(cost.cpu - named) * 1e6 / cost.events:>10.2f} us        between the timers")
    if cost.split.missing:
        print(f"  not there to be timed: {', '.join(cost.split.missing)}")
    rows = ", ".join(f"{number:,} {name}" for name, number in cost.rows.most_common())
    print(f"  emits {sum(cost.rows.values()) / cost.events:.2f} rows an event: {rows}")
    print(f"  signals: {dict(cost.signals)}; {'right' if not cost.wrong else 'WRONG: ' + '; '.join(cost.wrong[:5])}")
    print(
        f"  memory over the pass, MB above empty: {', '.join(f'{mb:.0f}' for mb in cost.resident)}; peak {cost.peak:.0f}"
    )


def growth(sessions: list[int], events: int, rounds: int, seed: int) -> None:
    """Cost an event with so many sessions at a time, each of which made `rounds` spans before, and what one more costs.

    A session has at most 350 spans, so with many rounds some were replaced: the bytes are for each session there was.
    """
    print(f"{rounds} spans of each session before; {events:,} events measured")
    print(f"{'at a time':>10} {'in all':>10} {'us/event':>9} {'MB':>8} {'bytes for each more':>20}")
    before: tuple[int, float] | None = None
    for concurrent in sessions:
        cost = measure(Load(concurrent * rounds + events, concurrent, seed), warm_up=concurrent * rounds)
        most, more = max(cost.resident, default=0.0), ""
        if before is not None and cost.sessions > before[0]:
            more = f"{(most - before[1]) * 1e6 / (cost.sessions - before[0]):,.0f}"
        print(f"{concurrent:>10,} {cost.sessions:>10,} {cost.micros:>9.2f} {most:>8.0f} {more:>20}", flush=True)
        before = (cost.sessions, most)
