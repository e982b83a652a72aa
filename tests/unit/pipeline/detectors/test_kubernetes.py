"""Kubernetes warnings."""

from typing import Any

import pytest

from pipeline.detectors import kubernetes
from schemas.signals import Signal
from tests.builders import at, closed_rows, event, frame, run_detector


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


def test_the_same_count_again_is_the_same_event_and_a_higher_one_adds_what_it_has_risen_by() -> None:
    def seen(seconds: float, count: int, uid: str = "uid") -> dict[str, Any]:
        return warning(seconds, event_id=f"{uid}-{count}", count=count)

    found = warnings(seen(1, 2), seen(2, 2), seen(90, 2), seen(100, 5), seen(110, 4), seen(200, 5))
    assert [s.details["count"] for s in found] == [2, 5]
    both = warnings(seen(1, 2), seen(2, 2, "other"), seen(200, 3), seen(300, 4, "other"))
    assert [s.details["count"] for s in both] == [2, 4, 5, 7]


def test_where_ids_do_not_name_the_object_when_it_was_first_seen_does() -> None:
    rows = (warning(at_s, valid_from=at(0), count=count) for at_s, count in ((1, 3), (70, 3), (140, 6)))
    assert [s.details["count"] for s in warnings(*rows)] == [3, 6]


@pytest.mark.parametrize(("reason", "message", "kind", "strong"), [
    ("BackOff", "Back-off restarting failed container", "crash_loop", True),
    ("BackOff", 'Back-off pulling image "cart:9"', "image_pull", True),
    ("Failed", "Error: ErrImagePull", "image_pull", True),
    ("Failed", "Error: cannot start", "failed_start", True),
    ("OOMKilling", "Memory cgroup out of memory", "out_of_memory", True),
    ("Evicted", "The node was low on resource: memory", "eviction", True),
    ("FailedScheduling", "0/3 nodes are available", "failed_scheduling", True),
    ("FailedMount", "timed out", "volume", False),
    ("Unhealthy", "Readiness probe failed", "probe_failure", False),
    ("Strange", "anything", "kubernetes", False),
])  # fmt: skip
def test_a_symptom_is_called_by_what_does_not_run(reason: str, message: str, kind: str, strong: bool) -> None:
    (found,) = warnings(warning(1, reason=reason, message=message))
    assert (found.type, found.details["is_strong"]) == (f"symptom.{kind}", strong)


@pytest.mark.parametrize(("count", "minutes", "strong"), [(10, 10, True), (9, 5, False), (10, 11, False)])
def test_a_probe_that_fails_again_and_again_is_strong(count: int, minutes: int, strong: bool) -> None:
    (found,) = warnings(warning(minutes * 60, reason="Unhealthy", count=count, valid_from=at(0)))
    assert found.details["is_strong"] is strong
    assert found.details["probe"] is None


def test_a_node_that_is_not_ready_is_a_symptom_though_it_is_reported_as_normal() -> None:
    (found,) = warnings(warning(1, reason="NodeNotReady", severity="normal", resource="prod/-/node/n7"))
    assert (found.type, found.details["is_strong"]) == ("symptom.sick_node", True)
