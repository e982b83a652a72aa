"""What correlate sees in the usage of a tenant: spikes of tokens, refusals, silence, stuck tools."""

import copy
import random
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from pipeline.core.limits import Limits
from pipeline.core.used import Used
from pipeline.correlation.correlator import Correlator
from pipeline.detectors import call_rate, refused_calls, silence, stuck_tool, token_spike
from schemas.signals import Heard, Signal
from schemas.times import MINUTE
from schemas.usage import KEY, PLACED, SUMS
from tests.builders import PANE, T0, usage

Row = tuple[float, dict[str, Any]]  # seconds after T0, what differs from one chat of agent-1


def run(module: ModuleType, rows: Iterable[Row], limits: Limits | None = None) -> list[Signal]:
    panes: dict[int, list[dict[str, Any]]] = {}
    for seconds, fields in rows:
        pane = (T0 + round(seconds * 1e6)) // PANE * PANE
        usual = {"tenant": "acme", "pane": pane, "source": "s", "agent_id": "agent-1", "operation": "chat", "calls": 1}
        panes.setdefault(pane, []).append(dict.fromkeys(KEY) | dict.fromkeys(SUMS, 0) | usual | fields)
    memory, found = module.fresh(), []
    for pane in sorted(panes):
        table = pl.DataFrame(panes[pane], schema=PLACED)
        for order in (table, table[::-1]):
            twin = module.fresh()
            twin.restore(copy.deepcopy(memory.saved()))
            signals = module.detect(Used(order), pane, PANE, twin, limits or Limits())
        found += signals
        memory = twin
    return found


def sessions(tokens: Iterable[int], **fields: Any) -> list[Row]:
    """A call every five minutes, of so many tokens."""
    return [(300.0 * n, {"input_tokens": number} | fields) for n, number in enumerate(tokens)]


def test_a_steady_agent_that_explodes_is_found_and_a_rise_is_not() -> None:
    (signal,) = run(token_spike, sessions([10_000] * 30 + [200_000], task_type="review"))
    assert signal.summary == "200,000 tokens in 5 min for review, usually 10,000"
    assert signal.details["gap"] == "token budget: none"
    assert run(token_spike, sessions([10_000] * 30 + [29_000])) == []
    assert run(token_spike, sessions([10_000] * 19 + [200_000])) == [], "too short a history is not judged"
    assert run(token_spike, sessions([100] * 30 + [29_000])) == [], "too few tokens to matter"


def test_tasks_that_differ_ten_times_are_no_spike() -> None:
    draw = random.Random(5)
    assert run(token_spike, sessions([round(20_000 * draw.lognormvariate(0, 0.8)) for _ in range(200)])) == []


def test_cache_reads_are_no_spike_and_a_budget_is_judged_elsewhere() -> None:
    cached = [*sessions([10_000] * 30), (300.0 * 30, {"input_tokens": 900_000, "cached_input_tokens": 890_000})]
    assert run(token_spike, cached) == []
    budget = Limits.model_validate({"limits": [{"match": {"agent_id": "agent-1"}, "tokens_per_day": 10**9}]})
    assert run(token_spike, sessions([10_000] * 30 + [200_000]), budget) == []


def test_a_spike_is_not_learned_and_each_is_said_once() -> None:
    rows = [*sessions([10000] * 30 + [200000] * 3), (300.0 * 30 + 20, {"input_tokens": 50000})]
    assert len(run(token_spike, rows)) == 3


@pytest.mark.parametrize("rate", [1, 3, 6])
def test_at_a_low_rate_chance_is_no_spike_and_a_flood_is(rate: int) -> None:
    draw = random.Random(rate)
    calls = [sum(draw.random() < rate / 60 for _ in range(60)) for _ in range(400)]
    rows = [(60.0 * n, {"calls": number}) for n, number in enumerate(calls) if number]
    assert run(call_rate, rows) == []
    (signal,) = run(call_rate, [*rows, (60.0 * 400, {"calls": 40})])
    assert signal.summary.startswith("40 calls in this minute, usually ")


def minutes(of: dict[str, list[int]], **fields: Any) -> list[Row]:
    """Calls of tools, minute by minute, by tool."""
    return [
        (60.0 * minute, {"operation": "execute_tool", "tool_name": tool, "calls": number} | fields)
        for tool, numbers in of.items()
        for minute, number in enumerate(numbers)
        if number
    ]


@pytest.mark.parametrize(("last", "is_spike"), [(140, True), (139, False)])
def test_a_tool_that_gets_far_more_calls_is_told_of_though_its_agent_is_as_busy_as_ever(
    last: int, is_spike: bool
) -> None:
    found = run(call_rate, minutes({"search": [40, 44] * 12 + [last], "read": [360, 356] * 12 + [400 - last]}))
    assert [signal.summary for signal in found] == ([f"{last} calls of search in this minute, usually 42"] * is_spike)
    assert [signal.agent_id for signal in found] == ["agent-1"] * is_spike


def test_a_target_that_a_whole_fleet_turns_to_is_told_of_without_an_agent() -> None:
    quiet = [
        row
        for n in range(4)
        for row in minutes({"read": [20] * 24}, agent_id=f"agent-{n}", target=f"eu/shop/pod/p{n}")
        + minutes({"read": [1] * 24}, agent_id=f"agent-{n}", target="eu/shop/deployment/cart")
    ]
    now: list[Row] = [
        (60.0 * 24, {"agent_id": f"agent-{n}", "operation": "execute_tool", "tool_name": "read", "calls": 21,
                     "target": "eu/shop/deployment/cart"})
        for n in range(4)
    ]  # fmt: skip
    (signal,) = run(call_rate, quiet + now)
    assert (signal.agent_id, signal.resource) == (None, "eu/shop/deployment/cart")
    assert signal.summary == "84 calls on cart in this minute, usually 4"


def test_what_an_agent_that_spikes_calls_is_not_told_of_once_more() -> None:
    found = run(call_rate, minutes({"search": [10] * 24 + [200]}))
    assert [signal.details["of"] for signal in found] == ["agent"]


def odd_halves(tokens: Iterable[int]) -> list[int]:
    """Half an hour by half an hour, one call in each: those that are out of the ordinary."""
    spending, found = token_spike.fresh().get(("acme", "agent-1", None), T0), []
    for half, number in enumerate(tokens):
        spending.add(T0 + half * 30 * MINUTE, number)
        if spending.usual.excess(token_spike.LEAST_TOKENS):
            found.append(half)
    return found


def weeks(number: int, tokens: Callable[[int], int]) -> list[int]:
    """What is needed in each half hour, as a matter of the hour of the week."""
    return [tokens(half // 2 % 168) for half in range(number * 336)]


def test_what_comes_every_week_is_a_spike_at_first_and_none_later() -> None:
    odd = odd_halves(weeks(9, lambda hour: 900_000 if hour == 100 else 60_000))
    assert odd[0] == 200, "nobody can know the first time"
    assert max(odd) // 336 < 6
    assert odd_halves([*weeks(4, lambda _: 60_000), 900_000]) == [4 * 336]


def test_a_night_as_busy_as_a_day_is_a_spike_once_nights_are_known() -> None:
    known = weeks(4, lambda hour: 600_000 if 8 <= hour % 24 < 18 else 40_000)
    night = len(known) + 4
    assert odd_halves(known) == []
    assert odd_halves([*known, *[40_000] * 4, 600_000]) == [night]


def refused(seconds: float, **fields: Any) -> Row:
    return seconds, {"errors": 1, "refused": 1} | fields


def test_an_agent_whose_calls_are_mostly_refused_is_throttled() -> None:
    work: list[Row] = [(10.0 * n, {}) for n in range(60)]
    (first, *_) = run(refused_calls, work + [refused(600 + 6 * n) for n in range(8)])
    assert (first.type, first.agent_id) == ("call_rate.throttled", "agent-1")
    assert first.summary == "agent-1: 8 of 32 calls in 5 min refused for their rate or quota"
    assert run(refused_calls, work + [refused(600 + 6 * n) for n in range(7)]) == []


def test_refusals_between_twice_as_many_successes_are_none() -> None:
    rows = [refused(7.0 * n) if n % 3 == 0 else (7.0 * n, {}) for n in range(200)]
    assert run(refused_calls, rows) == []


def test_few_retries_without_one_success_are_a_used_up_quota() -> None:
    rows = [refused(60.0 * n) for n in range(8)]
    (first, *_) = run(refused_calls, rows)
    assert first.summary == "agent-1: 6 calls refused for their rate or quota, none has worked for 5 min 5 s"
    assert run(refused_calls, [row for n in range(8) for row in (refused(60.0 * n), (60.0 * n + 30, {}))]) == []


def test_model_calls_that_all_fail_are_told_of_and_failing_tools_are_not() -> None:
    (first, *_) = run(refused_calls, [(30.0 * n, {"errors": 1}) for n in range(14)])
    assert first.type == "call_rate.no_success"
    assert first.summary == "agent-1: 12 calls failed, none has worked for 5 min 35 s"
    tools = {"errors": 1, "operation": "execute_tool", "tool_name": "get"}
    assert run(refused_calls, [(30.0 * n, tools) for n in range(40)]) == []


def test_a_fleet_that_is_refused_is_one_thing_told_of_early_and_again_every_two_minutes() -> None:
    rows = [refused(60.0 * n + agent, agent_id=f"agent-{agent}") for n in range(8) for agent in range(4)]
    found = run(refused_calls, rows)
    assert {signal.agent_id for signal in found} == {None}
    assert found[0].summary == (
        "4 agents (agent-0, agent-1, agent-2 ...): 13 calls refused for their rate or quota, none has worked for 3 min 5 s"
    )
    moments = [signal.detected_at for signal in found]
    assert all(later - earlier >= refused_calls.SAY_AGAIN for earlier, later in zip(moments, moments[1:], strict=False))


def fleet(minutes: int, stops: Iterable[int]) -> list[Row]:
    """Agents that call every 40 s until they stop, and one that goes on."""
    rows: list[Row] = []
    for agent, stop in enumerate(stops):
        rows += [(s, {"agent_id": f"agent-{agent}"}) for s in range(agent, stop * 60, 40)]
    return rows + [(s, {"agent_id": "other"}) for s in range(0, minutes * 60, 40)]


def test_agents_that_fall_silent_together_are_told_of_once() -> None:
    (signal,) = run(silence, fleet(60, [30, 30, 30, 30]))
    assert signal.agent_id is None
    assert signal.details["agents"] == [f"agent-{n}" for n in range(4)]
    assert "4 of 5 agents that were calling (agent-0, agent-1, agent-2 ...) fell silent together" in signal.summary
    assert 5 * 60 <= (signal.detected_at - T0) / 1e6 - 30 * 60 <= 6.5 * 60


def test_agents_that_end_go_one_by_one_or_are_few_are_not_silent() -> None:
    ends: list[Row] = [(30 * 60, {"agent_id": f"agent-{n}", "operation": "invoke_agent"}) for n in range(4)]
    assert run(silence, fleet(60, [30, 30, 30, 30]) + ends) == []
    assert run(silence, fleet(60, [20, 28, 36, 44])) == []
    assert run(silence, fleet(60, [30, 30])) == []
    assert run(silence, fleet(60, [30, 30, 30, 60, 60, 60, 60])) == []
    assert run(silence, fleet(80, [30, 30, 30, 36, 44, 52])) == [], "half went one by one"
    assert run(silence, [row for row in fleet(30, [30, 30, 30]) if row[1]["agent_id"] != "other"]) == []


def test_agents_that_fall_silent_one_after_the_other_or_die_of_an_error_are_told_of() -> None:
    staggered = run(silence, fleet(60, [30, 31, 33, 34, 36]))
    assert [len(signal.details["agents"]) for signal in staggered][-1] >= 4
    died: list[Row] = [
        (30 * 60, {"agent_id": f"agent-{n}", "operation": "invoke_agent", "errors": 1}) for n in range(4)
    ]
    assert len(run(silence, fleet(60, [30, 30, 30, 30]) + died)) == 1


def heard_after(minutes: int, rows: Iterable[Row], others: bool) -> list[str]:
    """The incidents of a tenant whose agents did this, where metrics (or nothing) of it go on for some minutes more."""
    tenant, found = Correlator("acme", PANE, Limits()), dict[str, str]()
    panes: dict[int, list[Any]] = {}
    for seconds, fields in rows:
        pane = (T0 + round(seconds * 1e6)) // PANE * PANE
        panes.setdefault(pane, []).append(usage(pane, 1, **fields))
    for minute in range(minutes):
        pane = (T0 + minute * MINUTE) // PANE * PANE
        name = "prod/shop/deployment/cart"
        heard = Heard(tenant="acme", pane=pane, resources=f'["{name}"]')
        panes.setdefault(pane, []).extend([heard] if others else [])
    for pane in sorted(panes):
        for incident in tenant.apply(pane, panes[pane]):
            found[incident.incident_id] = incident.title
    return list(found.values())


def test_a_fleet_that_falls_silent_as_a_whole_is_told_of_while_its_tenant_is_heard_of() -> None:
    stopped = [row for row in fleet(30, [30, 30, 30]) if row[1]["agent_id"] != "other"]
    (title,) = heard_after(60, stopped, others=True)
    assert "all 3 agents" in title.lower()
    assert heard_after(60, stopped, others=False) == [], "it may be the telemetry"
    assert heard_after(33, stopped, others=True) == [], "too early"
    ends: list[Row] = [(30 * 60, {"agent_id": f"agent-{n}", "operation": "invoke_agent"}) for n in range(3)]
    assert heard_after(60, [*stopped, *ends], others=True) == []


def every(seconds: int, until: int, agents: int = 5) -> list[Row]:
    return [(s, {"agent_id": f"agent-{n}"}) for n in range(agents) for s in range(n, until, seconds)]


def test_agents_that_call_now_and_then_are_not_silent_and_slow_ones_after_longer_than_they_ever_paused() -> None:
    assert run(silence, every(720, 7_200) + fleet(150, [])) == []
    (signal,) = run(silence, every(400, 7_200) + fleet(150, []))
    assert (signal.detected_at - T0) / 1e6 - 7_200 < 10 * 60
    assert run(silence, every(400, 7_200) + fleet(118, [])) == []


def test_a_fleet_that_is_refused_and_gives_up_one_by_one_is_told_of() -> None:
    rows = [refused(40.0 * agent + n, agent_id=f"agent-{agent}") for agent in range(5) for n in range(3)]
    (signal,) = run(refused_calls, rows)
    assert (signal.type, signal.agent_id) == ("call_rate.throttled", None)
    assert run(refused_calls, [(seconds / 2, fields) for seconds, fields in rows[:9]]) == [], "it did not last"
    cured = [*rows, *((seconds + 4.0, {"agent_id": fields["agent_id"]}) for seconds, fields in rows)]
    assert run(refused_calls, cured) == []


def tool(seconds: float, took: float, **fields: Any) -> Row:
    called = {"operation": "execute_tool", "tool_name": "build", "duration_ms": round(took * 1000)}
    return seconds, called | fields


def test_a_call_that_takes_many_times_as_long_is_stuck() -> None:
    usual = [tool(10.0 * n, 2 + n % 2) for n in range(20)]
    (signal,) = run(stuck_tool, [*usual, tool(900, 600)])
    assert signal.summary == "a call of build took 10 min, usually 2 s"
    assert run(stuck_tool, [*usual, tool(900, 119)]) == []
    assert run(stuck_tool, [*usual[:14], tool(900, 600)]) == []
    (of_many,) = run(stuck_tool, [*usual, tool(900, 612, calls=5)])
    assert of_many.details["took_ms"] == 602_000


def test_a_tool_that_always_took_from_seconds_to_minutes_is_not_stuck() -> None:
    draw = random.Random(4)
    assert run(stuck_tool, [tool(30.0 * n, 20 * draw.lognormvariate(0, 1.0)) for n in range(400)]) == []


def test_a_stuck_call_is_not_learned() -> None:
    usual = [tool(10.0 * n, 2) for n in range(20)]
    assert len(run(stuck_tool, [*usual, tool(900, 600), tool(1900, 600)])) == 2
