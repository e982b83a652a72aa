"""Kubernetes warnings and metric jumps."""

from typing import Any

import pytest

from pipeline.detectors import kubernetes, metric_jump
from schemas.signals import Signal
from tests.builders import PANE, at, closed_rows, event, frame, metric, run_detector


def warnings(*rows: dict[str, Any]) -> list[Signal]:
    return run_detector(kubernetes, [closed_rows(frame("cluster_event", rows))])


def warning(seconds: float, **fields: Any) -> dict[str, Any]:
    row = event(seconds, f"e{seconds}", "kubernetes", "prod/shop/pod/cart-0", reason="BackOff", severity="warning")
    return row | fields


def test_a_warning_is_a_symptom_and_a_normal_event_is_none() -> None:
    assert [s.resource for s in warnings(warning(1))] == ["prod/shop/pod/cart-0"]
    assert warnings(warning(1, severity="normal", reason="Pulled")) == []


def test_repeated_warnings_are_folded_until_they_double_or_a_minute_has_passed() -> None:
    found = warnings(*(warning(1 + i) for i in range(8)), warning(120))
    assert [s.details["count"] for s in found] == [1, 2, 4, 8, 9]


@pytest.mark.parametrize(("reason", "strong"), [("BackOff", True), ("OOMKilling", True), ("Unhealthy", False)])
def test_a_crash_is_strong_and_a_failed_probe_is_not(reason: str, strong: bool) -> None:
    (found,) = warnings(warning(1, reason=reason))
    assert found.details["is_strong"] is strong


def test_labels_name_the_node_and_broken_labels_name_none() -> None:
    named, broken = warnings(warning(1, labels='{"node": "n7"}'), warning(2, labels="{", resource="prod/shop/pod/b"))
    assert (named.details["node"], broken.details["node"]) == ("n7", None)


STEADY = [10.0, 10.2, 9.9, 10.1] * 5


def jumps(values: list[float], **fields: Any) -> list[Signal]:
    rows = [metric(15 * i, value, **fields) for i, value in enumerate(values)]
    return run_detector(metric_jump, [closed_rows(frame("metric_point", rows))])


def test_two_points_beyond_open_a_jump_and_one_does_not() -> None:
    assert jumps([*STEADY, 30.0, 10.0]) == []
    (found,) = jumps([*STEADY, 30.0, 30.0])
    assert found.window_start == at(15 * len(STEADY))
    assert found.detected_at == at(15 * (len(STEADY) + 1)) + PANE
    assert "rose to 30, usually" in found.summary


def test_nothing_is_judged_before_there_are_enough_points() -> None:
    assert jumps([10.0] * 11 + [90.0, 90.0]) == []


def test_a_perfectly_steady_series_that_explodes_is_found() -> None:
    assert len(jumps([10.0] * 20 + [90.0, 90.0])) == 1


def test_the_jump_is_not_learned_and_closes_when_the_level_is_back() -> None:
    opened, closed = jumps([*STEADY, *[50.0] * 10, 10.0, 10.1])
    assert not opened.details["is_over"]
    assert closed.details["is_over"]
    assert closed.details["usual"] == pytest.approx(10.05, abs=0.2)


@pytest.mark.parametrize(("name", "value", "fires"), [
    ("latency_p95", 30.0, True), ("latency_p95", 1.0, False), ("availability", 1.0, True), ("availability", 30.0, False),
    ("db.connections", 30.0, True), ("db.connections", 1.0, True),
])  # fmt: skip
def test_the_good_direction_is_no_symptom(name: str, value: float, fires: bool) -> None:
    assert bool(jumps([*STEADY, value, value], metric=name)) is fires


def test_a_cumulative_series_is_judged_by_its_rate_across_resets() -> None:
    steady = [100.0 * i for i in range(20)]
    assert jumps([*steady, 0.0, 100.0, 200.0], kind="cumulative") == []
    assert len(jumps([*steady, 9900.0, 19900.0], kind="cumulative")) == 1


def test_a_level_that_lasts_becomes_the_usual_one() -> None:
    found = jumps([*STEADY, *[50.0] * 80])
    assert [s.details["is_over"] for s in found] == [False, True]
