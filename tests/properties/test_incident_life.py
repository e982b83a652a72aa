"""The life of an incident under any order of what may happen to it: a state machine, and what correlate makes of it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pipeline.core.limits import Limits
from pipeline.correlation import life
from pipeline.correlation.case import REOPENS_WITHIN, Case, opened
from pipeline.correlation.correlator import Correlator
from schemas.incidents import Incident
from schemas.signals import Fact, Signal
from tests.builders import PANE, at

PLACES = tuple(f"prod/{scope}/deployment/{name}" for scope in ("a", "b") for name in ("one", "two"))
FINAL = ("merged", "continued")
ENDS = ("resolved", *FINAL)


def symptom(number: int, seconds: float, resource: str, *, strong: bool = True) -> Signal:
    """A warning about a resource."""
    name, moment = f"{resource}-{number}", at(seconds)
    cited = {"type": "symptom", "topic": "cluster.events.v1", "partition": 0, "offset": number, "event_id": name}
    cited |= {"event_time": moment, "resource": resource, "shows": name}
    details = {"reason": "BackOff", "is_strong": strong, "references": [cited]}
    return Signal(
        signal_id=name, type="symptom.crash_loop", tenant="acme", scope="/".join(resource.split("/")[:2]),
        resource=resource, window_start=moment, window_end=moment, detected_at=moment + PANE, summary=name,
        evidence=json.dumps(details),
    )  # fmt: skip


class Life(RuleBasedStateMachine):
    """Every function of life.py in any order; beside it, what must come of it. Time only goes on."""

    burning = Bundle("burning")
    resolved = Bundle("resolved")

    def __init__(self) -> None:
        super().__init__()
        self.now, self.number = 0.0, 0
        self.problems: dict[str, life.Problem] = {}
        self.all: list[Case] = []
        self.told: dict[str, list[str]] = {}
        self.seen: dict[str, list[int]] = {}  # fingerprint -> starts of what was new

    def _begin(self, place: str, follows: Case | None) -> Case:
        self.number += 1
        self.now += 6  # a symptom is told of when its pane is over
        case = opened("place", symptom(self.number, self.now - 5, place))
        before = self.problems.get(case.fingerprint)
        self.problems[case.fingerprint] = life.open_case(case, self.problems, follows)
        if follows is None or before is None:
            self.seen.setdefault(case.fingerprint, []).append(case.started_at)
        self.all.append(case)
        self.told[case.incident_id] = ["opened"]
        assert case.occurrences == len(self.seen[case.fingerprint])
        assert case.first_seen_at == self.seen[case.fingerprint][0]
        return case

    @rule(target=burning, place=st.sampled_from(PLACES))
    def begins(self, place: str) -> Case:
        return self._begin(place, None)

    @rule(seconds=st.integers(1, 40_000))
    def time_goes_on(self, seconds: int) -> None:
        self.now += seconds

    @rule(target=resolved, case=consumes(burning))
    def resolves(self, case: Case) -> Case:
        life.resolve(case, at(self.now))
        self.told[case.incident_id].append("resolved")
        return case

    @rule(target=burning, case=consumes(resolved))
    def reopens(self, case: Case) -> Case:
        is_soon = case.resolved_at is not None and at(self.now) - case.resolved_at <= REOPENS_WITHIN
        assert life.may_reopen(case, at(self.now)) is is_soon
        life.reopen(case, at(self.now))
        self.told[case.incident_id].append("reopened")
        return case

    @rule(case=consumes(burning), into=burning)
    def merges(self, case: Case, into: Case) -> None:
        if case is into:
            return
        failed = case.symptoms.keys() | into.symptoms.keys()
        life.merge(case, into, at(self.now))
        self.told[case.incident_id].append("merged")
        self.told[into.incident_id].append("merged")
        assert case.merged_into == into.incident_id
        assert into.symptoms.keys() == failed
        assert into.started_at <= case.started_at

    @rule(target=burning, case=consumes(burning))
    def goes_on_in_a_successor(self, case: Case) -> Case:
        age = at(self.now) - case.opened_by.detected_at
        assert life.is_too_old(case, at(self.now)) is (age >= life.OLDEST)
        successor = self._begin(case.opened_by.resource or "", case)
        life.end_by(case, successor, at(self.now))
        self.told[case.incident_id].append("continued")
        assert (case.followed_by, successor.follows) == (successor.incident_id, case.incident_id)
        return successor

    @rule(case=resolved)
    def what_is_over_cannot_end_again(self, case: Case) -> None:
        before = case.transitions
        for step in (
            lambda: life.resolve(case, at(self.now)),
            lambda: life.merge(case, case, at(self.now)),
            lambda: life.end_by(case, case, at(self.now)),
        ):
            with pytest.raises(ValueError, match="and must be open"):
                step()
        assert case.transitions == before

    @rule(case=burning)
    def what_is_open_cannot_be_reopened(self, case: Case) -> None:
        assert not life.may_reopen(case, at(self.now))
        with pytest.raises(ValueError, match="and must be resolved"):
            life.reopen(case, at(self.now))

    @invariant()
    def each_transition_stands_there_in_order_and_tells_the_state(self) -> None:
        for case in self.all:
            told = [step.type for step in case.transitions]
            whole = self.told[case.incident_id]
            most = life.MOST_TRANSITIONS - 1  # of more the first is kept, and the newest
            assert told == (whole if len(whole) <= most else [whole[0], *whole[-len(told) + 1 :]])
            assert told[0] == "opened"
            assert [step.at for step in case.transitions] == sorted(step.at for step in case.transitions)
            is_over = case.merged_into is not None or case.followed_by is not None or whole[-1] == "resolved"
            assert (case.status == "resolved") is is_over is (case.resolved_at is not None)

    @invariant()
    def what_went_into_another_never_comes_back(self) -> None:
        for case in self.all:
            if case.merged_into is not None or case.followed_by is not None:
                assert not life.may_reopen(case, at(self.now))

    @invariant()
    def ids_are_of_the_signal_alone(self) -> None:
        assert len({case.incident_id for case in self.all}) == len(self.all)
        for case in self.all:
            again = opened("place", case.opened_by)
            assert (again.incident_id, again.fingerprint) == (case.incident_id, case.fingerprint)


Life.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase


EVENTS = st.lists(st.tuples(st.integers(0, 900), st.sampled_from(PLACES), st.booleans()), min_size=1, max_size=25).map(
    lambda drawn: sorted(drawn)
)


def told(drawn: list[tuple[int, str, bool]], joined_at: int | None) -> list[Incident]:
    """What is said of these symptoms (a minute each), where at some moment the two places turn out to be one."""
    tenant = Correlator("acme", PANE, Limits())
    out: list[Incident] = []
    by_pane: dict[int, list[Any]] = {}
    for number, (minute, place, strong) in enumerate(drawn):
        by_pane.setdefault(at(60 * minute), []).append(symptom(number, 60 * minute, place, strong=strong))
    if joined_at is not None:
        when = at(60 * joined_at)
        fact = Fact(
            tenant="acme", fact_id="d", kind="dependency", resource=PLACES[0], value=PLACES[2], event_time=when,
            published_time=when, valid_from=when,
        )  # fmt: skip
        by_pane.setdefault(when, []).append(fact)
    for pane in sorted(by_pane):
        out += tenant.apply(pane, by_pane[pane])
    return out + tenant.advance(at(60 * 5_000))


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.none() | st.integers(0, 900))
def test_whatever_fails_when_every_incident_has_a_whole_life(
    drawn: list[tuple[int, str, bool]], joined_at: int | None
) -> None:
    revisions = told(drawn, joined_at)
    lives: dict[str, list[Incident]] = {}
    for revision in revisions:
        lives.setdefault(revision.incident_id, []).append(revision)
    newest = {name: said[-1] for name, said in lives.items()}
    for name, said in lives.items():
        for before, after in zip(said, said[1:], strict=False):
            assert before.updated_at <= after.updated_at
            assert after.transitions[: len(before.transitions)] == before.transitions
        last = newest[name]
        assert last.status == "resolved"  # nothing burns for ever
        assert last.transitions[-1].type in ENDS
        assert last.resolved_at is not None
        for other in (last.merged_into, last.followed_by, last.follows):
            assert other is None or other in newest
        if last.followed_by is not None:
            assert newest[last.followed_by].follows == name
        distances = [item.distance for item in last.blast_radius]
        assert distances == sorted(distances)
        assert len({item.resource for item in last.blast_radius}) == len(distances)
    strong = {place for _, place, is_strong in drawn if is_strong}
    assert strong <= {item.resource for last in newest.values() for item in last.blast_radius}
    assert [revision.model_dump() for revision in told(drawn, joined_at)] == [r.model_dump() for r in revisions]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 200), min_size=2, max_size=60))
def test_a_storm_in_one_scope_is_one_incident_however_it_comes(seconds: list[int]) -> None:
    tenant, revisions = Correlator("acme", PANE, Limits()), []
    storm: dict[int, list[Signal]] = {}
    for number, second in enumerate(seconds):
        storm.setdefault(at(second // 5 * 5), []).append(symptom(number, second, f"prod/a/deployment/s{number}"))
    for pane in sorted(storm):
        revisions += tenant.apply(pane, storm[pane])
    assert len({revision.incident_id for revision in revisions}) == 1
    assert len(revisions[-1].blast_radius) == len(seconds)
