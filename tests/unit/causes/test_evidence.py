"""A verdict stands on its evidence: without the decisive part it falls, and names and arrival do not matter to it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import pytest

from bench.quality_causes import ACTING, CHANGES, incidents_of, name_of, nearest
from schemas.incidents import Attribution, Incident
from schemas.times import MINUTE
from tests.causes.failures import Failure
from tests.causes.renaming import renamed, reordered
from tests.causes.telling import Event

SOME = 70  # ten of each family: enough where every single case must come out the same
pytestmark = pytest.mark.timeout(300)  # the first test waits for the cases of all


@pytest.fixture(scope="module")
def before(told: tuple[Failure, ...], played: Mapping[str, Sequence[Incident]]) -> dict[str, Attribution]:
    """What is said of the cases as they were told."""
    return said_of(told, played)


def attributions(cases: Iterable[Failure]) -> dict[str, Attribution]:
    """Tenant -> what its incident says of the cause."""
    cases = list(cases)
    return said_of(cases, incidents_of(cases))


def said_of(cases: Iterable[Failure], found: Mapping[str, Sequence[Incident]]) -> dict[str, Attribution]:
    return {case.tenant: nearest(case, found[case.tenant]).attribution for case in cases}


def without(case: Failure, is_left_out: Callable[[Event], bool]) -> Failure:
    return replace(case, events=tuple(event for event in case.events if not is_left_out(event)))


def places(case: Failure) -> set[str]:
    """What the cause changed."""
    return {event.get("target") or event.get("resource") for event in case.events if _id(event) in case.causes}


def _id(event: Event) -> str | None:
    return event.get("span_id") or event.get("event_id")


def is_change(event: Event) -> bool:
    return event.get("access") in ACTING or event.get("kind") in CHANGES


def decided(cases: Iterable[Failure]) -> list[Failure]:
    """Cases with one cause, and no other change in the ten minutes before it but its own traces in the cluster."""
    found = []
    for case in cases:
        if len(case.causes) != 1 or case.verdict not in ("agent", "change"):
            continue
        own = places(case)
        others = [
            event
            for event in case.events
            if is_change(event)
            and event["event_time"] > case.failed_at - 10 * MINUTE
            and (event.get("target") or event.get("resource")) not in own
        ]
        if not others:
            found.append(case)
    return found


def test_without_the_act_of_the_culprit_nobody_is_blamed_in_its_place(
    told: tuple[Failure, ...], before: dict[str, Attribution]
) -> None:
    cases = decided(told)
    right = [case for case in cases if before[case.tenant].verdict == case.verdict]
    assert len(right) >= 25
    after = attributions(without(case, lambda event, case=case: _is_its_trace(event, case)) for case in right)
    fell = [case for case in right if after[case.tenant].verdict in ("infrastructure", "undetermined")]
    assert len(fell) >= 0.95 * len(right)


def test_without_the_source_that_tells_of_people_no_person_is_blamed(told: tuple[Failure, ...]) -> None:
    cases = [case for case in decided(told) if case.verdict == "change"]
    after = attributions(without(case, lambda event: event.get("actor_kind") == "human") for case in cases)
    assert len(cases) >= 10
    assert {after[case.tenant].verdict for case in cases} <= {"infrastructure", "undetermined"}


def test_without_the_source_that_holds_the_decisive_evidence_the_verdict_is_undetermined(
    told: tuple[Failure, ...], before: dict[str, Attribution]
) -> None:
    """Nobody is cleared by a source that says nothing: neither the culprit, nor everybody."""
    cases = [case for case in decided(told) if case.verdict == "agent"]
    cases = [case for case in cases if not any(event.get("reason") in NODE_FAILS for event in case.events)]
    after = attributions(without(case, lambda event, case=case: _is_of_agents(event, case)) for case in cases)
    right = [case for case in cases if before[case.tenant].verdict == "agent"]
    assert len(right) >= 15
    assert all(after[case.tenant].unseen for case in right)
    fell = [case for case in right if after[case.tenant].verdict == "undetermined"]
    assert len(fell) >= 0.9 * len(right), {case.tenant: after[case.tenant] for case in right if case not in fell}


NODE_FAILS = ("SystemOOM", "NodeNotReady", "NodeHasDiskPressure")


def _is_of_agents(event: Event, case: Failure) -> bool:
    """All traces, and what the cluster told of the culprit's act."""
    return event["type"] == "agent_span" or _is_its_trace(event, case)


def _is_its_trace(event: Event, case: Failure) -> bool:
    """What shows the culprit's act: the span or event itself, and what the cluster told of the same object."""
    return is_change(event) and (event.get("target") or event.get("resource")) in places(case)


def test_other_names_give_the_same_verdict_the_same_probability_and_the_same_causes(
    told: tuple[Failure, ...], before: dict[str, Attribution]
) -> None:
    told = told[:SOME]
    other = [renamed(case, 3) for case in told]
    after = attributions(case for case, _ in other)
    for case, (new, names) in zip(told, other, strict=True):
        assert same(before[case.tenant], names) == same(after[new.tenant], {})


def test_arrival_in_another_order_within_the_lateness_changes_nothing(
    told: tuple[Failure, ...], before: dict[str, Attribution]
) -> None:
    some = told[:SOME]
    assert attributions(reordered(case, 5) for case in some) == {case.tenant: before[case.tenant] for case in some}


def same(said: Attribution, names: dict[str, str]) -> object:
    """What must not depend on names; equal candidates in any order."""
    ranked = sorted((names.get(name_of(c), name_of(c)), c.probability, sorted(c.factors.items())) for c in said.ranked)
    return said.verdict, said.probability, ranked
