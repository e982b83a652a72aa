"""What an agent did not know: planted facts of every class, found again from the events alone."""

import json
import random
from collections import Counter
from collections.abc import Iterable
from functools import cache

from bench.quality_corpus import run
from pipeline.core.limits import Limits
from schemas.incidents import ContextGap
from schemas.times import MICROS
from tests.causes.gaps import CLASSES, Planted, planted
from tests.causes.telling import LONGEST_DELAY, Event

SEEDS = range(1_000, 1_240)
SOME = 80  # cases, each a tenant of its own; as many as it takes to meet each class often
GOAL = 0.95


@cache
def cases() -> tuple[Planted, ...]:
    return tuple(planted(seed) for seed in SEEDS)


def found(events: Iterable[Event]) -> dict[str, tuple[ContextGap, ...]]:
    """Tenant -> what its incident lists."""
    reads = [entry for case in cases() for entry in case.reads]
    ordered = sorted(events, key=lambda event: (event["ingest_time"], event["event_time"]))
    outcomes = run(ordered, Limits.model_validate({"version": 1, "reads": reads}))
    return {incident.tenant: incident.context_gaps for incident in outcomes.incidents}


@cache
def listed() -> dict[str, tuple[ContextGap, ...]]:
    return found(event for case in cases() for event in case.events)


def confusion() -> Counter[tuple[str, str]]:
    """(class that is true, class that was said); `none` where a fact is not there."""
    pairs: Counter[tuple[str, str]] = Counter()
    for case in cases():
        said = {gap.event_id: gap.class_ for gap in listed()[case.tenant]}
        for fact in said.keys() | case.truth.keys():
            pairs[case.truth.get(fact, ("none", None))[0], said.get(fact, "none")] += 1
    return pairs


def f1_of(pairs: Counter[tuple[str, str]], name: str) -> float:
    right = pairs[name, name]
    wrong = sum(number for pair, number in pairs.items() if name in pair and pair != (name, name))
    return 2 * right / (2 * right + wrong)


def test_facts_of_every_class_are_told_apart() -> None:
    pairs = confusion()
    scores = {name: f1_of(pairs, name) for name in CLASSES}
    assert all(sum(n for (true, _), n in pairs.items() if true == name) >= 20 for name in CLASSES)
    assert sum(scores.values()) / len(CLASSES) >= GOAL, (scores, pairs)


def test_no_fact_that_was_published_later_is_called_a_gap() -> None:
    said = {said for (true, said) in confusion() if true == "unknowable"}
    assert said == {"unknowable"}


def test_the_step_at_which_the_context_dropped_out_is_named_with_its_span() -> None:
    checked = 0
    for case in cases():
        for gap in listed()[case.tenant]:
            class_, span = case.truth.get(gap.event_id, ("", None))
            if span is not None and class_ == gap.class_:
                checked += 1
                assert gap.span_id == span
                assert gap.step
    assert checked >= 60


def test_arrival_in_another_order_within_the_lateness_changes_nothing() -> None:
    rng = random.Random(5)
    longest = round(LONGEST_DELAY * MICROS)
    some = cases()[:SOME]
    shuffled = [
        event | {"ingest_time": event["event_time"] + rng.randrange(longest)} for case in some for event in case.events
    ]
    rng.shuffle(shuffled)
    assert {class_ for case in some for class_, _ in case.truth.values()} == set(CLASSES)
    assert found(shuffled) == {case.tenant: listed()[case.tenant] for case in some}


def test_without_its_reads_nothing_was_seen() -> None:
    """The read is the decisive evidence: only what a prompt declared is still known."""
    some = cases()[:SOME]
    events = [event for case in some for event in case.events]
    declared = {fact["event_id"] for event in events for fact in json.loads(event.get("context_facts") or "[]")}
    left = found(event for event in events if event.get("access") != "read")
    for case in some:
        for gap in left[case.tenant]:
            true, _ = case.truth[gap.event_id]
            if true != "unknowable" and gap.event_id not in declared:
                assert gap.class_ == "never_queried", (true, gap)
