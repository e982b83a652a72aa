"""The catalogue of limits over sessions: where each stops, what that spares, and what it would stop besides."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.correlation.whatif import Known, Span, Values, by_session, span_of, what_if
from reports.whatif import render
from schemas.incidents import Attribution, BlastResource, Candidate, Incident
from schemas.signals import Fact
from schemas.whatif import Outcome
from tests.builders import at

CART = "prod/shop/deployment/cart"
DB = "prod/shop/database/cart-db"


def span(seconds: float, **fields: Any) -> Span:
    row = {
        "session_id": "session-1", "agent_id": "agent-1", "span_id": f"span-{seconds}", "began": at(seconds),
        "ended": at(seconds + 1), "operation": "execute_tool", "tool": "get", "target": "", "tool_args": '{"a":1}',
        "args_digest": "", "access": "read", "status": "ok", "approval": "", "step": None, "tokens": 0,
    }  # fmt: skip
    return span_of(row | fields)


def write(seconds: float, target: str = CART, **fields: Any) -> Span:
    return span(seconds, target=target, access="write", tool="kubernetes.scale", **fields)


def incident(cause: str | None = None) -> Incident:
    candidate = Candidate(
        kind="agent_action", resource=CART, span_id=cause, event_time=at(0), probability=0.9, factors={}
    )
    return Incident(
        incident_id="i-1", fingerprint="f", revision=1, tenant="acme",
        kind="agent_caused_failure" if cause else "feedback_loop", status="resolved", severity="warning", scope=None,
        agent_id="agent-1", agent_version=None, session_ids=("session-1",), title="it failed", started_at=at(100),
        detected_at=at(100), updated_at=at(200), summary="", attribution=Attribution(
            verdict="agent", probability=0.9, ranked=(candidate,)),
        blast_radius=(BlastResource(resource=CART, distance=0),) if cause else (),
    )  # fmt: skip


def outcomes(*spans: Span, cause: str | None = None, facts: tuple[Fact, ...] = (), **values: int) -> dict[str, Outcome]:
    found = what_if(incident(cause), by_session(spans), [], Known.of(facts), Values(**values), 7)
    return {outcome.limit.split(" of ")[0]: outcome for outcome in found.outcomes}


def fact(kind: str, resource: str, **fields: Any) -> Fact:
    times = {"event_time": at(0), "published_time": at(0), "valid_from": at(0)}
    return Fact(tenant="acme", fact_id=f"{kind} {resource}", kind=kind, resource=resource, **times | fields)


def test_the_step_after_the_last_one_allowed_is_stopped_and_all_that_follows_is_spared() -> None:
    spans = [span(number, tokens=10) for number in range(5)]
    assert outcomes(*spans, steps=5)["step limit"].stop is None
    stop = outcomes(*spans, steps=3)["step limit"].stop
    assert stop is not None
    assert (stop.span_id, stop.step, stop.calls_avoided, stop.tokens_avoided) == ("span-3", 4, 2, 20)


def test_calls_are_equal_whatever_their_ids_and_times_are() -> None:
    spans = [span(n, tool_args=f'{{"a":1,"request_id":"{n}"}}') for n in range(4)]
    stop = outcomes(*spans, repeats=3)["repeat cap"].stop
    assert stop is not None
    assert stop.span_id == "span-3"
    assert outcomes(*(span(n, tool_args=f'{{"item":{n}}}') for n in range(9)), repeats=3)["repeat cap"].stop is None
    unknown = [span(n, tool_args="") for n in range(9)]
    assert outcomes(*unknown, repeats=3)["repeat cap"].stop is None


def test_a_budget_stops_the_first_span_that_begins_after_it_is_used_up() -> None:
    spans = [span(0, tokens=60, ended=at(5)), span(1, tokens=60, ended=at(3)), span(4, tokens=1), span(6, tokens=1)]
    stop = outcomes(*spans, tokens=100)["token budget"].stop
    assert stop is not None
    assert stop.span_id == "span-6"
    assert outcomes(*spans, tokens=122)["token budget"].stop is None


@pytest.mark.parametrize(
    ("earlier", "is_stopped"),
    [
        ((), True),
        ((span(1, target=CART),), False),
        ((span(1, target=CART, status="error"),), True),
        ((span(1, target=DB),), True),
        ((span(1, target=CART, ended=at(30)),), True),
    ],
)
def test_a_change_needs_a_look_at_its_target_that_was_answered_before(
    earlier: tuple[Span, ...], is_stopped: bool
) -> None:
    assert (outcomes(*earlier, write(10))["reconnaissance before write"].stop is not None) is is_stopped


def test_only_an_approval_that_was_granted_lets_a_change_through() -> None:
    assert outcomes(write(10, approval="requested"))["approval"].stop is not None
    assert outcomes(write(10, approval="granted"))["approval"].stop is None
    asked = span(5, operation="approval", approval="granted", target=CART, access="")
    assert outcomes(asked, write(10))["approval"].stop is None
    assert outcomes(write(10, target="corp/it/ticket/t-1"))["approval"].stop is None


def test_a_window_of_what_the_target_depends_on_counts_if_it_could_be_read() -> None:
    depends = fact("dependency", CART, value=DB)
    window = fact("maintenance", DB)
    assert outcomes(write(10), facts=(depends, window))["freeze check"].stop is not None
    assert outcomes(write(10), facts=(window,))["freeze check"].stop is not None  # the same namespace
    late = fact("maintenance", DB, published_time=at(20))
    assert outcomes(write(10), facts=(depends, late))["freeze check"].stop is None
    own = fact("maintenance", DB, session_id="session-1")
    assert outcomes(write(10), facts=(depends, own))["freeze check"].stop is None


def test_a_part_that_was_tried_first_lets_the_whole_through() -> None:
    part = write(5, tool_args='{"percent":10}')
    assert outcomes(part, write(10, tool_args='{"percent":100}'))["canary"].stop is None
    assert outcomes(write(10, tool_args='{"replicas":24}'))["canary"].stop is not None


def test_a_stop_after_the_action_that_did_the_damage_comes_too_late() -> None:
    spans = [span(1), write(2), span(3), span(4)]
    assert outcomes(*spans, cause="span-2", steps=1)["step limit"].is_in_time
    late = outcomes(*spans, cause="span-2", steps=2)["step limit"]
    assert late.stop is not None
    assert not late.is_in_time


def test_healthy_sessions_that_would_be_stopped_too_are_counted() -> None:
    healthy = [
        *(span(n, session_id="h-1") for n in range(6)),
        *(span(n, session_id="h-2", agent_id="other") for n in range(2)),
    ]
    stopped = by_session([span(n) for n in range(6)])
    found = what_if(incident(), stopped, by_session(healthy), Known(), Values(steps=4), 7)
    steps = found.outcomes[0]
    assert (steps.healthy.sessions, steps.healthy.stopped) == (2, 1)
    assert (steps.healthy_of_agent.sessions, steps.healthy_of_agent.stopped) == (1, 1)
    text = render(found)
    assert "stops 1 of 2 healthy sessions too, 1 of 1 of agent-1" in text


def test_what_would_have_stopped_it_comes_first_and_the_rest_is_a_line_each() -> None:
    healthy = by_session([span(n, session_id="h-1") for n in range(6)])
    found = what_if(incident(), by_session([span(0), write(1)]), healthy, Known(), Values(steps=4), 7)
    text = render(found)
    assert text.index("\n  approval ") < text.index("\n  step limit of 4 ")
    assert "step limit of 4 would not have stopped it" in " ".join(text.split())
    assert "stops 1 of 1" not in text


def test_without_a_session_held_responsible_no_limit_would_have_helped() -> None:
    nobody = incident().model_copy(update={"session_ids": (), "agent_id": None})
    assert "no limit on an agent would have stopped it" in render(what_if(nobody, [], [], Known(), Values(), 7))


WINDOW = fact("freeze", "prod/shop/namespace/shop")
SIX = [span(n, tokens=30) for n in range(6)]  # equal calls
# limit -> what it stops, what it lets through
CATALOGUE = {
    "step limit": (SIX, SIX[:3]),
    "repeat cap": (SIX, [span(n, tool_args=f'{{"item":{n}}}') for n in range(6)]),
    "token budget": (SIX, SIX[:2]),
    "reconnaissance before write": ([write(1)], [span(0, target=CART), write(5)]),
    "approval": ([write(1)], [write(1, approval="granted")]),
    "freeze check": ([write(1)], [write(1, target="prod/other/deployment/x")]),
    "canary": ([write(1)], [write(1, tool_args='{"percent":10}'), write(5, tool_args='{"percent":100}')]),
}


@pytest.mark.parametrize("limit", CATALOGUE)
def test_each_limit_of_the_catalogue_has_its_earliest_stop_what_that_spares_and_its_price(limit: str) -> None:
    stopped, let_through = CATALOGUE[limit]

    def session(name: str, spans: list[Span]) -> list[Span]:
        return [replace(one, session_id=name) for one in spans]

    healthy = [*session("h-1", stopped), *session("h-2", let_through), *session("h-3", let_through)]
    values = Values(steps=3, repeats=3, tokens=100)
    found = what_if(incident(), by_session(stopped), by_session(healthy), Known.of([WINDOW]), values, 7)
    (outcome,) = (one for one in found.outcomes if one.limit.split(" of ")[0] == limit)
    assert outcome.stop is not None
    at_stop = next(n for n, one in enumerate(stopped) if one.span_id == outcome.stop.span_id)
    spared = [one for one in stopped[at_stop:] if one.operation == "execute_tool"]
    assert outcome.stop.calls_avoided == len(spared)
    assert outcome.stop.tokens_avoided == sum(one.tokens for one in spared)
    assert (outcome.healthy.sessions, outcome.healthy.stopped) == (3, 1)
    nothing = what_if(incident(), by_session(let_through), [], Known.of([WINDOW]), values, 7)
    assert next(one for one in nothing.outcomes if one.limit.split(" of ")[0] == limit).stop is None


def test_the_catalogue_that_is_tested_is_the_whole_one() -> None:
    found = what_if(incident(), by_session(SIX), [], Known(), Values(), 7)
    assert {one.limit.split(" of ")[0] for one in found.outcomes} == set(CATALOGUE)
