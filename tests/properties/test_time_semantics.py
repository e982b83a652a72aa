"""The engine's panes and its merge against the rules of time, record by record (tests/oracles): same class, same order."""

import random
from collections import defaultdict
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.merge import PaneMerge
from pipeline.core.panes import NEVER, Panes, TimeRules
from schemas.codecs import TICK, Batch
from schemas.codecs.blocks import decode_batch
from schemas.codecs.single import encode_event
from schemas.events import ClusterEvent
from schemas.signals import Fact, Gap, Marker, Reduced, Row
from tests.builders import T0
from tests.oracles import time_semantics as oracle
from tests.oracles.time_semantics import Event, Message, Place, Record, straight_through
from tests.oracles.worlds import Arrival, any_order, emitted, events, interleaved, logs, partition_of

STEP = 500_000  # the oracle counts in half seconds
RULES = TimeRules(lateness=oracle.LATENESS * STEP, pane=oracle.PANE * STEP, skew=oracle.SKEW * STEP)
TOPIC = "cluster.events.v1"
Sources = list[str]


def micros(step: int) -> int:
    return NEVER if step <= oracle.NEVER else T0 + step * STEP


def steps(moment: int) -> int:
    return oracle.NEVER if moment == NEVER else (moment - T0) // STEP


@cache
def encoded(event: Event) -> bytes:
    moment, key, content = event
    name = f"{moment}/{key}"
    return encode_event(
        ClusterEvent(event_time=micros(moment), tenant="acme", event_id=name, resource="a/b/flag/x", kind="flag", value=content)
    )  # fmt: skip


class Engine:
    """One partition through the engine, read in batches of the given sizes."""

    def __init__(self, log: list[Record], sizes: list[int]) -> None:
        self.late: list[bool] = []
        self.rows: list[tuple[int, Place]] = []
        self.carried: list[tuple[int, Place]] = []
        self.upto: list[int] = []  # after each batch
        self.read_to: list[int] = []
        panes = Panes("cluster_event", RULES)
        at = turn = 0
        while at < len(log):
            part = log[at : at + sizes[turn % len(sizes)]]
            turn += 1
            stamps = [micros(stamp) for stamp, _ in part]
            values = [TICK if event is None else encoded(event) for _, event in part]
            keys = [None] * len(part)
            decoded = decode_batch(Batch(TOPIC, 0, range(at, at + len(part)), stamps, keys, values), "cluster_event")
            assert not decoded.rejected
            at += len(part)
            judged = panes.lateness.judge(decoded.frame, decoded.newest_ingest_time)
            self.late += judged.is_late.to_list()
            closed = panes.read(judged)
            for found, frame in ((self.rows, closed.rows), (self.carried, closed.late)):
                for pane, moment, name in frame.select("pane", "event_time", "event_id").iter_rows():
                    found.append((steps(pane), (steps(moment), int(name.split("/")[1]))))
            self.upto.append(steps(closed.upto))
            self.read_to.append(at)

    def panes(self) -> list[tuple[int, list[str]]]:
        """What a detect task sends: the rows of each pane, and a marker at the end of what is closed."""
        by_pane: dict[int, list[str]] = defaultdict(list)
        for kind, found in (("row", self.rows), ("late", self.carried)):
            for pane, (moment, key) in found:
                by_pane[pane].append(f"{kind}/{moment}/{key}")
        return sorted({pane: by_pane[pane] for pane in (*by_pane, self.upto[-1])}.items())


moments = st.integers(130, 210)
# how long after its event time it is appended: anything, and what lies on the edges of late and of ahead
delays = st.one_of(st.integers(-130, 60), st.sampled_from((-oracle.SKEW - 1, -oracle.SKEW, 10, 11, 19, 20)))
arrivals = st.lists(
    st.tuples(delays, moments, st.integers(0, 2), st.sampled_from("ab")).map(
        lambda drawn: (max(0, drawn[1] + drawn[0]), (drawn[1], drawn[2], drawn[3]))
    ),
    min_size=1,
    max_size=25,
)
records = st.tuples(arrivals, st.lists(st.integers(0, 270), max_size=6)).map(
    lambda drawn: sorted([(at, event) for at, event in drawn[0]] + [(at, None) for at in drawn[1]], key=lambda r: r[0])
)


@pytest.mark.fault("F29")
@settings(max_examples=80, deadline=None)
@given(records, st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_rows_are_classed_and_carried_record_by_record_whatever_the_batches(
    log: list[Record], sizes: list[int]
) -> None:
    log = [*log, (400, None)]
    engine, expected = Engine(log, sizes), straight_through(log)
    assert engine.late == expected.late
    assert engine.rows == expected.closed(expected.rows)
    assert sorted(engine.carried) == expected.closed(expected.carried)
    assert engine.upto == [straight_through(log[:end]).closed_upto for end in engine.read_to]


def whole(found: list[Arrival], partitions: int, draw: random.Random) -> tuple[set[tuple[int, Place]], set[Place], int]:
    """Over all partitions: rows with their panes, places of late events, number of rows."""
    rows: list[tuple[int, Place]] = []
    late: set[Place] = set()
    for log in logs(draw, found, partitions):
        engine = Engine(log, [draw.choice((1, 4, 100))])
        rows += engine.rows
        seen = [event for _, event in log if event is not None]
        late |= {(event[0], event[1]) for event, is_late in zip(seen, engine.late, strict=True) if is_late}
    return set(rows), late, len(rows)


@pytest.mark.parametrize("seed", range(12))
def test_a_rows_class_does_not_depend_on_what_shares_its_partition(seed: int) -> None:
    draw = random.Random(f"own {seed}")
    found = events(draw, draw.choice((8, 40)), late=0.6)
    first, *others = [whole(found, partitions, draw) for partitions in (1, 3, 8)]
    assert others == [first, first]


@pytest.mark.parametrize("seed", range(12))
def test_order_within_the_lateness_duplicates_and_partition_counts_give_the_same_panes(seed: int) -> None:
    draw = random.Random(f"order {seed}")
    found = [event for _, event in events(draw, draw.choice((8, 40)), late=0)]
    seen = [whole(any_order(draw, found), partitions, draw) for partitions in (1, 3, 8)]
    assert seen == [({(oracle.pane_of(moment), (moment, key)) for moment, key, _ in found}, set(), seen[0][2])] * 3
    assert seen[0][2] == len(seen[0][0]), "a row stands in one pane once"


@pytest.mark.parametrize("seed", range(8))
def test_recorded_events_stamped_before_they_are_partitioned_are_late_on_every_count_or_on_none(seed: int) -> None:
    draw = random.Random(f"recorded {seed}")
    found = [event for _, event in sorted(events(draw, 40, late=0.4))]
    seen = []
    for partitions in (1, 3, 8):
        log: list[list[Record]] = [[] for _ in range(partitions)]
        top = 0
        for event in found:
            top = max(top, event[0])
            log[partition_of(event[1], partitions)].append((top, event))
        engines = [Engine([*part, (400, None)], [7]) for part in log]
        seen.append((sum(sum(e.late) for e in engines), sorted(row for e in engines for row in e.rows)))
    assert seen[0] == seen[1] == seen[2]


def message_of(message: Message) -> Reduced | Marker | Gap:
    source, pane, run = f"{TOPIC}/{message.source}", micros(message.pane), f"run-{message.run}"
    if message.kind == "gap":
        return Gap(source=source, pane=pane)
    if message.kind == "marker":
        return Marker(source=source, pane=pane, run=run, rows=message.rows)
    fact = Fact(tenant="acme", fact_id=message.row, kind="flag", resource="a/b/flag/x", event_time=0, published_time=0, valid_from=0)  # fmt: skip
    return Reduced(source, pane, run, fact)


def names(panes: list[tuple[int, list[Row]]]) -> list[tuple[int, list[str]]]:
    return [(steps(pane), sorted(row.fact_id for row in rows if isinstance(row, Fact))) for pane, rows in panes]


def filled(panes: oracle.Panes) -> oracle.Panes:
    return [(pane, rows) for pane, rows in panes if rows]


FAULTS = [(), ("crash",), ("zombie",), ("crash", "zombie"), ("versions", "crash", "zombie"), ("out",), ("out", "crash", "zombie")]  # fmt: skip


@pytest.mark.parametrize("partitions", [1, 3, 8])
@pytest.mark.parametrize("faults", FAULTS, ids="-".join)
def test_the_merge_takes_the_panes_that_the_rules_take_message_by_message(
    faults: tuple[str, ...], partitions: int
) -> None:
    lent = 0
    for seed in range(10):
        draw = random.Random(f"{faults} {partitions} {seed}")
        log = logs(draw, events(draw, draw.choice((0, 6, 30)), span=80), partitions)
        sources = [Engine(part, [draw.choice((1, 5, 100))]) for part in log]
        queues = [emitted(draw, number, source.panes(), set(faults)) for number, source in enumerate(sources)]
        messages = interleaved(draw, queues, is_out="out" in faults)
        merge, rules = PaneMerge([f"{TOPIC}/{number}" for number in range(partitions)]), oracle.Reader(partitions)
        taken: oracle.Panes = []
        for message in messages:
            firm, ahead = rules.read(message)
            found = names(merge.take(message_of(message)))
            taken += found
            assert found == filled(firm), (seed, message)
            assert names(merge.ahead(merge.applied)) == filled(ahead), (seed, message)
            lent += bool(filled(ahead))
        assert merge.held_rows == 0, seed
        if "versions" not in faults:  # then it is one log: every row of it once, in its pane, whoever crashed
            expected: dict[int, list[str]] = defaultdict(list)
            for number, part in enumerate(log):
                source = straight_through(part)
                for kind, held in (("row", source.rows), ("late", source.carried)):
                    for pane, (moment, key) in source.closed(held):
                        expected[pane].append(f"{number}/1/{kind}/{moment}/{key}")
            assert taken == sorted((pane, sorted(rows)) for pane, rows in expected.items()), seed
    assert bool(lent) == ("out" in faults and partitions > 1), "panes are lent while a source is out, and only then"


def test_partitions_without_events_hold_nothing_back() -> None:
    draw = random.Random("empty")
    found = [(at, (moment, 0, content)) for at, (moment, _, content) in events(draw, 40, late=0)]
    sources = [Engine(part, [5]) for part in logs(draw, found, 4)]
    merge = PaneMerge([f"{TOPIC}/{number}" for number in range(4)])
    for number, source in enumerate(sources):
        merge.read(map(message_of, emitted(draw, number, source.panes(), set())))
    assert steps(merge.applied) == min(source.upto[-1] for source in sources) > 40
    assert sum(bool(source.rows) for source in sources) == 1
