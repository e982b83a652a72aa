"""Random worlds for the rules of time: events, their arrival, workers that crash or linger, sources that fall silent.

Everything is drawn from the `random.Random` that is handed in, so that a seed is a counterexample.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.oracles.time_semantics import LATENESS, NEVER, PANE, Event, Message, Record, pane_of

SECOND = 2
Arrival = tuple[int, Event]  # when it is appended


def events(draw: random.Random, number: int, late: float = 0.1, span: int = 40 * SECOND) -> list[Arrival]:
    """Events of six keys, some of them late, some of them twice."""
    out = []
    for _ in range(number):
        moment = draw.randint(0, span)
        delay = draw.randint(0, 6 * SECOND) if draw.random() > late else draw.randint(0, 25 * SECOND)
        out.append((moment + delay, (moment, draw.randrange(6), draw.choice("abb"))))
    if draw.random() < 0.3:
        out += [(at + draw.randint(0, 5 * SECOND), event) for at, event in draw.sample(out, min(3, number))]
    return out


def any_order(draw: random.Random, found: Iterable[Event]) -> list[Arrival]:
    """The same events in another order within the lateness, some of them twice."""
    again = [(draw.randint(event[0], pane_of(event[0]) + PANE + LATENESS - 1), event) for event in found]
    return again + draw.sample(again, draw.randint(0, len(again)))


def partition_of(key: int, partitions: int) -> int:
    """Where the events of a key stand."""
    return (key * 5 + key // 3) % partitions


def logs(draw: random.Random, arrivals: Sequence[Arrival], partitions: int) -> list[list[Record]]:
    """The log of each partition: stamped by one clock, with a tick where it was idle, and one that closes the tail."""
    out: list[list[Record]] = [[] for _ in range(partitions)]
    queue = sorted(arrivals, key=lambda arrival: arrival[0])
    end = queue[-1][0] if queue else 0
    at = 0
    for now in range(end + 1):
        while at < len(queue) and queue[at][0] <= now:
            out[partition_of(queue[at][1][1], partitions)].append((now, queue[at][1]))
            at += 1
        for log in out:
            if now - (log[-1][0] if log else 0) >= PANE and draw.random() < 0.5:
                log.append((now, None))
    for log in out:
        log.append((end + 60 * SECOND, None))
    return out


@dataclass
class Worker:
    """One run of a detect task: where in the panes it is, which rows of the pane it has sent."""

    run: int
    version: int
    pane: int
    sent: int = 0


def emitted(
    draw: random.Random, source: int, panes: Sequence[tuple[int, list[str]]], faults: set[str]
) -> list[Message]:
    """What a source writes: each pane's rows, then its marker; by several runs where workers crash or linger.

    A new run begins at a pane before which everything is in the log, as a snapshot guarantees.
    """
    out: list[Message] = []
    runs = 0

    def started(safe: int) -> Worker:
        nonlocal runs
        runs += 1
        version = draw.choice((1, 2)) if "versions" in faults else 1
        return Worker(runs, version, draw.randint(0, safe))

    working = [started(0)]
    while working[-1].pane < len(panes):
        worker = draw.choice([one for one in working if one.pane < len(panes)])
        pane, rows = panes[worker.pane]
        rows = rows + [row + "+" for row in rows] if worker.version == 2 else rows
        if worker.sent < len(rows):
            row = f"{source}/{worker.version}/{rows[worker.sent]}"
            out.append(Message("row", source, pane, worker.run, row))
            worker.sent += 1
            chance = 0.06
        else:
            out.append(Message("marker", source, pane, worker.run, rows=len(rows)))
            worker.pane, worker.sent = worker.pane + 1, 0
            chance = 0.1
        if "crash" in faults and draw.random() < chance:
            working = [started(max(one.pane for one in working))]
        elif "zombie" in faults and draw.random() < chance:
            working = [working[-1], started(max(one.pane for one in working))]
    return out


def interleaved(
    draw: random.Random, queues: Sequence[list[Message]], *, is_out: bool = False, sizes: Sequence[int] = (1, 3, 20)
) -> list[Message]:
    """The signals partition: each source's messages in their order, sources in any.

    `is_out`: some sources stand still for a while, and a gap record is written for them while they do.
    """
    waiting = [list(queue) for queue in queues]
    closed = [NEVER] * len(queues)
    still: dict[int, int] = {}  # source -> turns until it goes on
    told: set[int] = set()
    out: list[Message] = []
    while any(waiting):
        for source in list(still):
            still[source] -= 1
            if still[source] <= 0:
                del still[source]
                told.discard(source)
        ready = [source for source, queue in enumerate(waiting) if queue and source not in still]
        if not ready:
            still.clear()
            told.clear()
            continue
        source = draw.choice(ready)
        size = draw.choice(sizes)
        for message in waiting[source][:size]:
            out.append(message)
            if message.kind == "marker":
                closed[source] = max(closed[source], message.pane)
        del waiting[source][:size]
        if is_out and draw.random() < 0.1:
            still[draw.randrange(len(queues))] = draw.randint(10, 60)
        for source in [name for name in still if name not in told and draw.random() < 0.3]:
            told.add(source)
            out.append(Message("gap", source, closed[source]))
    return out
