"""New versions beside old ones: what got worse is named, and what is as good is left alone."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from pipeline.backtest import Backtest
from pipeline.core.limits import Limits
from pipeline.core.used import Used
from pipeline.detectors import version_regression
from schemas.signals import Signal
from schemas.times import MINUTE
from schemas.usage import KEY, PLACED, SUMS
from tests.builders import PANE, T0, decoded, span

Run = tuple[str | None, int, int, int]  # version, calls, errors, tokens
Loops = Callable[[Run], bool]
Tools = Callable[[Run], Sequence[str]]


def found(
    runs: list[Run], ends: bool = True, loops: Loops = lambda _: False, tools: Tools = lambda _: ()
) -> list[Signal]:
    """The signals of runs, one a minute; each is one pane. A run that loops is told of in it, twice.

    tools: what the run calls, each tool as often as it has model calls.
    """
    memory, signals = version_regression.fresh(), []
    nothing = dict.fromkeys(KEY) | dict.fromkeys(SUMS, 0) | {"tenant": "acme", "source": "s", "agent_id": "agent-1"}
    for number, (version, calls, errors, tokens) in enumerate(runs):
        pane = T0 + number * MINUTE
        common: dict[str, Any] = {"pane": pane, "agent_version": version}
        chat = {"operation": "chat", "calls": calls, "errors": errors, "input_tokens": tokens}
        called = tools((version, calls, errors, tokens))
        rows = [nothing | common | chat]
        rows += [nothing | common | {"operation": "retrieval", "tool_name": tool, "calls": calls} for tool in called]
        if ends:  # the run's own span sums up what its calls have used
            rows.append(nothing | common | {"operation": "invoke_agent", "calls": 1, "input_tokens": tokens})
        table = pl.DataFrame(rows, schema=PLACED)
        looped = [loop(number, version)] * 2 if loops((version, calls, errors, tokens)) else []
        signals += version_regression.detect(Used(table), looped, pane, PANE, memory, Limits())
    return signals


def loop(number: int, version: str | None) -> Signal:
    """A loop of one run."""
    return Signal(
        signal_id=f"loop-{number}", type="feedback_loop.exact", tenant="acme", agent_id="agent-1",
        agent_version=version, session_id=f"s-{number}", window_start=T0, window_end=T0, detected_at=T0,
        summary="5 equal calls", evidence="{}", rule_version="1",
    )  # fmt: skip


def runs(draw: random.Random, version: str | None, number: int, calls: float = 10, failing: float = 0.02) -> list[Run]:
    out = []
    for _ in range(number):
        made = max(1, round(draw.gauss(calls, calls / 4)))
        out.append((version, made, sum(draw.random() < failing for _ in range(made)), made * 2000))
    return out


def beside(old: list[Run], new: list[Run]) -> list[Run]:
    """The old one alone, then both in turn."""
    first = old[: len(old) - len(new)]
    return first + [run for pair in zip(old[len(first) :], new, strict=True) for run in pair]


def test_more_calls_a_run_are_named_with_what_to_go_back_to() -> None:
    draw = random.Random(1)
    (first, *rest) = found(beside(runs(draw, "1.0", 60), runs(draw, "1.1", 30, calls=25)))
    assert first.agent_version == "1.1"
    assert first.details["before"] == "1.0"
    assert first.details["worse"].keys() <= {"calls", "tokens"}
    assert first.summary.startswith("version 1.1 is worse than 1.0: ")
    assert first.summary.endswith("; roll back to 1.0")
    assert first.details["gap"] == "roll-out: version 1.1 went on although it is worse"
    assert len(rest) <= 1, "each figure is told of once"


def test_more_errors_are_named_also_where_runs_do_not_end() -> None:
    draw = random.Random(2)
    log = beside(runs(draw, "1.0", 120), runs(draw, "1.1", 60, failing=0.3))
    for ends in (True, False):
        (signal,) = found(log, ends)
        assert signal.details["worse"].keys() == {"errors"}
        assert "of its calls fail, before 2%" in signal.summary or "of its calls fail, before 1%" in signal.summary


def test_runs_that_loop_more_often_are_named_and_each_counts_once() -> None:
    draw = random.Random(7)
    log = beside(runs(draw, "1.0", 80), runs(draw, "1.1", 40))
    (signal,) = found(log, loops=lambda run: run[0] == "1.1" and draw.random() < 0.6)
    assert signal.details["worse"].keys() == {"loops"}
    was, is_now = signal.details["worse"]["loops"]
    assert was == 0
    assert 0.3 < is_now < 0.9, "a run that is told of twice loops once"
    assert signal.summary.endswith("of its runs loop, before 0%; roll back to 1.0")


def test_loops_that_the_loop_detector_finds_in_the_spans_count() -> None:
    """Every run makes eight calls; one of the new version makes the same call eight times."""
    spans: list[dict[str, Any]] = []
    for number in range(90):
        version = "1.1" if number >= 40 and number % 2 else "1.0"
        loops = version == "1.1"
        own = {"session_id": f"s-{number}", "trace_id": f"t-{number}", "agent_version": version}
        for call in range(8):
            what = {"tool_args": f'{{"id": {0 if loops else call}}}', "result_digest": f"r-{0 if loops else call}"}
            spans.append(span(120 * number + 5 * call, access="read", **own, **what))
        spans.append(span(120 * number + 50, operation="invoke_agent", tool_name=None, duration_ms=50_000, **own))
    backtest = Backtest()
    backtest.read([decoded("agent_span", spans)])
    backtest.finish()
    shown = {item.shows for incident in backtest.outcomes.incidents for item in incident.evidence}
    (says,) = {text for text in shown if text.startswith("version 1.1 is worse than 1.0: ")}
    assert "of its runs loop, before 0%" in says


def test_versions_that_loop_as_often_as_before_and_a_loop_now_and_then_are_left_alone() -> None:
    draw = random.Random(8)
    log = beside(runs(draw, "1.0", 80), runs(draw, "1.1", 40))
    assert found(log, loops=lambda _: draw.random() < 0.4) == []
    assert found(log, loops=lambda run: run[0] == "1.1" and draw.random() < 0.08) == []


def test_of_a_worse_version_the_tool_is_named_whose_part_has_grown() -> None:
    draw = random.Random(9)
    log = beside(runs(draw, "1.0", 60), runs(draw, "1.1", 30, calls=25))
    both = ("get", "search")
    new = found(log, tools=lambda run: ("get", "search", "page.reload") if run[0] == "1.1" else both)[0]
    assert new.details["tool_mix"] == {"page.reload": [0.0, 0.3333]}
    assert "; 33% of its tool calls are page.reload, before 0%; roll back to 1.0" in new.summary
    same = found(log, tools=lambda _: both)[0]
    assert same.details["tool_mix"] == {}
    assert "tool calls" not in same.summary


def test_other_tools_alone_make_no_version_worse() -> None:
    draw = random.Random(10)
    log = beside(runs(draw, "1.0", 60), runs(draw, "1.1", 30))
    assert found(log, tools=lambda run: ("search",) if run[0] == "1.1" else ("get",)) == []


def test_a_part_that_chance_can_explain_is_not_named() -> None:
    assert version_regression._grown_part({"get": 10, "search": 10}, {"get": 7, "search": 3}) is None
    assert version_regression._grown_part({"get": 1000, "search": 1000}, {"get": 700, "search": 300}) is not None
    assert version_regression._grown_part({}, {"get": 7}) is None


def test_it_takes_enough_runs_of_both() -> None:
    draw = random.Random(3)
    old, new = runs(draw, "1.0", 40), runs(draw, "1.1", 40, calls=40)
    assert found(old + new[:15]) == []
    assert found(old[:19] + new) == []
    assert found(old + new) != []


def test_a_better_version_a_first_one_and_runs_without_a_version_are_left_alone() -> None:
    draw = random.Random(4)
    assert found(beside(runs(draw, "1.0", 60, calls=20, failing=0.2), runs(draw, "1.1", 30))) == []
    assert found(runs(draw, "1.0", 40) + runs(draw, "1.0", 40, calls=40)) == []
    assert found(runs(draw, None, 40) + runs(draw, None, 40, calls=40)) == []


def test_going_back_is_no_regression_of_the_old_version() -> None:
    draw = random.Random(5)
    log = runs(draw, "1.0", 40, calls=30) + runs(draw, "1.1", 40, calls=10) + runs(draw, "1.0", 40, calls=30)
    assert found(log) == []


def test_of_versions_that_are_as_good_hardly_one_in_a_hundred_is_called_worse() -> None:
    """All looks at 300 versions, with runs whose needs differ by half."""
    draw = random.Random(6)
    false = 0
    for _ in range(300):

        def block(spread: float = 0.5) -> version_regression.Block:
            calls = [max(1, round(10 * draw.lognormvariate(0, spread))) for _ in range(version_regression.RUNS)]
            errors = sum(draw.random() < 0.1 for _ in range(sum(calls)))
            looped = sum(draw.random() < 0.2 for _ in calls)
            return version_regression.RUNS, sum(calls), errors, sum(calls) * 2000, looped

        old, new = version_regression.Version(0), version_regression.Version(1)
        old.blocks.extend(block() for _ in range(10))
        is_false = False
        for _ in range(30):
            new.blocks.append(block())
            is_false |= bool(version_regression._worse(old, new))
        false += is_false
    assert false <= 3
