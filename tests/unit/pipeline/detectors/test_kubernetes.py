"""Kubernetes warnings."""

from typing import Any

import pytest

from pipeline.detectors import kubernetes
from schemas.signals import Signal
from tests.builders import closed_rows, event, frame, run_detector


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
