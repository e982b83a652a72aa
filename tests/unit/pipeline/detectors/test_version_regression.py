"""New versions beside old ones: what got worse is named, and what is as good is left alone."""

import random
from typing import Any

import polars as pl

from pipeline.core.limits import Limits
from pipeline.core.used import Used
from pipeline.detectors import version_regression
from schemas.signals import Signal
from schemas.times import MINUTE
from schemas.usage import KEY, PLACED, SUMS
from tests.builders import PANE, T0

Run = tuple[str | None, int, int, int]  # version, calls, errors, tokens


def found(runs: list[Run], ends: bool = True) -> list[Signal]:
    """The signals of runs, one a minute; each is one pane."""
    memory, signals = version_regression.fresh(), []
    nothing = dict.fromkeys(KEY) | dict.fromkeys(SUMS, 0) | {"tenant": "acme", "source": "s", "agent_id": "agent-1"}
    for number, (version, calls, errors, tokens) in enumerate(runs):
        pane = T0 + number * MINUTE
        common: dict[str, Any] = {"pane": pane, "agent_version": version}
        chat = {"operation": "chat", "calls": calls, "errors": errors, "input_tokens": tokens}
        rows = [nothing | common | chat]
        if ends:  # the run's own span sums up what its calls have used
            rows.append(nothing | common | {"operation": "invoke_agent", "calls": 1, "input_tokens": tokens})
        table = pl.DataFrame(rows, schema=PLACED)
        signals += version_regression.detect(Used(table), pane, PANE, memory, Limits())
    return signals


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
            return version_regression.RUNS, sum(calls), errors, sum(calls) * 2000

        old, new = version_regression.Version(0), version_regression.Version(1)
        old.blocks.extend(block() for _ in range(10))
        is_false = False
        for _ in range(30):
            new.blocks.append(block())
            is_false |= bool(version_regression._worse(old, new))
        false += is_false
    assert false <= 3
