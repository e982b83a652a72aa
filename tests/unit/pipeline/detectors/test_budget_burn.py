"""A daily budget that burns: held against the formula for a step from one rate to another."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.limits import Limits
from pipeline.core.used import Used
from pipeline.detectors import budget_burn
from schemas.signals import Signal
from schemas.times import MICROS
from schemas.usage import KEY, PLACED, SUMS
from tests.builders import PANE, T0

BUDGET = 8_640_000  # 500 tokens a pane are an even use
EVEN = 500
DAY_START = T0 // budget_burn.DAY * budget_burn.DAY


def limits(**fields: Any) -> Limits:
    return Limits.model_validate({"version": 2, "limits": [{"tokens_per_day": BUDGET} | fields]})


def table(pane: int, rows: list[dict[str, Any]]) -> pl.DataFrame:
    nothing = dict.fromkeys(KEY) | dict.fromkeys(SUMS, 0)
    usual = {"tenant": "acme", "pane": pane, "source": "s", "agent_id": "agent-1", "operation": "chat", "calls": 1}
    return pl.DataFrame([nothing | usual | row for row in rows], schema=PLACED)


def burn(panes: list[list[dict[str, Any]]], allowed: Limits, start: int = T0) -> list[Signal]:
    """The signals of these panes; each is a list of rows of usage."""
    memory, found = budget_burn.fresh(), []
    for number, rows in enumerate(panes):
        if rows:
            pane = start + number * PANE
            found += budget_burn.detect(Used(table(pane, rows)), pane, PANE, memory, allowed)
    return found


def even(rate: float, panes: int, **fields: Any) -> list[list[dict[str, Any]]]:
    return [[{"input_tokens": round(EVEN * rate)} | fields] for _ in range(panes)]


def two_hours(rate: float) -> list[list[dict[str, Any]]]:
    """An even use; a call every half minute, and in the last quarter of an hour one every pane."""
    seldom = [[{"input_tokens": round(EVEN * rate * 6)}] if n % 6 == 0 else [] for n in range(1440 - 180)]
    return seldom + even(rate, 180)


def oracle(before: float, after: float) -> float:
    """Seconds from the step to the first window that burns: w (T - b) / (r - b)."""
    at = [
        length / MICROS * (fraction * budget_burn.DAY / length - before) / (after - before)
        for length, fraction, _ in budget_burn.WINDOWS
        if after > fraction * budget_burn.DAY / length
    ]
    return min(at)


@settings(max_examples=8, deadline=None)
@given(st.floats(0.0, 2.5), st.floats(3.6, 60.0))
def test_a_step_is_found_when_the_formula_says(before: float, after: float) -> None:
    wanted = oracle(before, after)
    found = burn(two_hours(before) + even(after, int(wanted / 5) + 20), limits())
    assert found, "a burn above the slowest window is found"
    late = (found[0].detected_at - T0) / MICROS - 1440 * 5 - wanted
    # the first window needs the short one too, which is at most a twelfth of it; the two-hour window has cells of 30 s
    assert -1 <= late <= 40


@pytest.mark.parametrize(("rate", "panes", "fires"), [(2.95, 1500, False), (3.1, 1500, True), (9.0, 200, False)])
def test_a_use_below_every_window_is_no_burn(rate: float, panes: int, fires: bool) -> None:
    assert bool(burn(two_hours(0.5) + even(rate, panes), limits(), DAY_START)) is fires


def test_one_call_however_large_is_no_burn_and_several_are() -> None:
    huge = [[{"input_tokens": BUDGET // 2}]]
    assert burn(even(0.5, 30) + huge + even(0.5, 30), limits()) == []
    assert len(burn(even(0.5, 30) + huge * 6, limits())) >= 1


def test_it_says_what_is_left_and_ends_soon_after_the_burn() -> None:
    found = burn(two_hours(1) + even(30, 60) + even(1, 400) + even(30, 60), limits(), DAY_START)
    first = found[0]
    assert first.summary == (
        "agent-1 uses tokens 14.5 times as fast as its budget lasts, for 5 min: "
        "1,140,000 of 8,640,000 today, used up in 28 min 47 s to 1 h 26 min"
    )
    assert first.details["used_up_in_seconds"] == [1727, 5160]
    assert first.details["gap"] == "tokens budget: burns, nothing stopped it"
    ends = [(signal.detected_at - DAY_START) // PANE for signal in found]
    assert all(1440 <= end <= 1506 or end > 1900 for end in ends), ends
    assert first.rule_version == "1+limits.2"


@settings(max_examples=10, deadline=None)
@given(st.floats(16.0, 60.0), st.integers(1, 4))
def test_the_interval_holds_the_moment_at_which_it_is_used_up(rate: float, every: int) -> None:
    """Calls come every few panes, each so much larger."""
    calls = [[{"input_tokens": round(EVEN * rate * every)}] if n % every == 0 else [] for n in range(200)]
    (first, *_) = burn(even(0.5, 180) + calls, limits(), DAY_START)
    left = (BUDGET - first.details["used_today"]) / (EVEN * rate) * 5
    soonest, latest = first.details["used_up_in_seconds"]
    assert soonest <= left <= latest


def test_a_slow_use_that_passes_the_budget_is_said_once_a_day() -> None:
    seldom = [[{"input_tokens": EVEN * 18}] if n % 12 == 0 else [] for n in range(12_000)]
    found = burn(seldom, limits(), DAY_START)
    assert [signal.summary for signal in found] == [
        "agent-1 has used up the budget of today: 8,649,000 of 8,640,000 tokens"
    ]


def test_cache_reads_tools_and_summed_spans_are_no_tokens() -> None:
    rows = [
        {"input_tokens": 90_000, "cached_input_tokens": 89_800},
        {"operation": "execute_tool", "tool_name": "get", "input_tokens": 90_000},
        {"operation": "invoke_agent", "input_tokens": 90_000},
    ]
    assert burn([rows] * 400, limits()) == []


def test_a_budget_of_each_agent_and_one_of_all_are_told_apart() -> None:
    def rows(number: int, rate: float) -> list[dict[str, Any]]:
        return [{"agent_id": f"agent-{n}", "input_tokens": round(EVEN * rate)} for n in range(number)]

    assert burn([rows(10, 2.0)] * 400, limits()) == []
    found = burn([rows(10, 2.0)] * 400, limits(budget_of="tenant"))
    assert {signal.agent_id for signal in found} == {None}
    assert found[0].summary.startswith("tenant acme uses tokens 14.7 times as fast")
    assert len({signal.agent_id for signal in burn([rows(3, 20.0)] * 100, limits())}) == 3


def test_budgets_of_models_and_of_calls_to_a_tool() -> None:
    of_model = limits(match={"model": "large-*"}, budget_of="model")
    assert burn([[{"model": "small-1", "input_tokens": EVEN * 20}]] * 100, of_model) == []
    (first, *_) = burn([[{"model": "large-1", "input_tokens": EVEN * 20}]] * 100, of_model)
    assert first.summary.startswith("model large-1 uses tokens 14.7 times as fast")
    of_tool = Limits.model_validate(
        {"limits": [{"match": {"tool_name": "mail.*"}, "budget_of": "tool", "calls_per_day": 17_280}]}
    )
    sends = {"operation": "execute_tool", "tool_name": "mail.send"}
    assert burn([[sends | {"calls": 2}]] * 400, of_tool) == []
    (first, *_) = burn([[sends | {"calls": 20}]] * 100, of_tool)
    assert first.summary.startswith("tool mail.send uses calls 14.7 times as fast")


def test_the_last_entry_of_a_kind_is_the_budget() -> None:
    entries = [{"tokens_per_day": BUDGET}, {"match": {"agent_id": "agent-1"}, "tokens_per_day": BUDGET * 10}]
    assert burn(even(20, 100), Limits.model_validate({"limits": entries})) == []
    assert burn(even(20, 100, agent_id="agent-2"), Limits.model_validate({"limits": entries}))


def test_without_a_budget_nothing_burns_and_rows_in_any_order_are_the_same() -> None:
    assert burn(even(1000, 100), Limits()) == []
    tables = [
        table(T0 + n * PANE, [{"input_tokens": EVEN * n}, {"model": "m", "input_tokens": EVEN}]) for n in range(99)
    ]

    def found(order: int) -> list[str]:
        memory = budget_burn.fresh()
        parts = [(int(rows["pane"][0]), rows[::order]) for rows in tables]
        return [
            s.signal_id for pane, rows in parts for s in budget_burn.detect(Used(rows), pane, PANE, memory, limits())
        ]

    assert found(1) == found(-1) != []
