"""The t-test: against tables, and against what chance does."""

import random

import pytest

from pipeline.core.significance import chance_of_more, student_tail


@pytest.mark.parametrize(
    ("t", "freedom", "tail"),
    [(2.015, 5, 0.05), (4.032, 5, 0.005), (6.869, 5, 0.0005), (1.812, 10, 0.05), (0.0, 7, 0.5), (1.96, 1e6, 0.025)],
)
def test_tails_are_those_of_the_tables(t: float, freedom: float, tail: float) -> None:
    assert student_tail(t, freedom) == pytest.approx(tail, rel=2e-3)
    assert student_tail(-t, freedom) == pytest.approx(1 - tail, rel=2e-3)


@pytest.mark.parametrize("share", [0.2, 0.05, 0.01])
def test_where_nothing_differs_it_is_as_rare_as_it_says(share: float) -> None:
    draw = random.Random(1)
    found = 0
    for _ in range(4000):
        old = [draw.gauss(0, 1) for _ in range(6)]
        new = [draw.gauss(0, 2) for _ in range(4)]
        found += chance_of_more(old, new, 0.0001) < share
    assert found / 4000 == pytest.approx(share, rel=0.35)


def test_samples_without_spread_prove_nothing_by_themselves() -> None:
    assert chance_of_more([1.0] * 6, [1.05] * 4, 0.1) > 0.1
    assert chance_of_more([1.0] * 6, [2.0] * 4, 0.1) < 1e-4
