"""Waits grow and are spread; a receiver's own time is kept; each severity has an end."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.receivers import Delivery
from alerts.retry import RetryPolicy
from schemas.incidents import SEVERITIES, Severity

LATER = Delivery(False, "HTTP 503", is_transient=True)
POLICY = RetryPolicy()


def _wait(
    delivery: Delivery = LATER,
    attempt: int = 1,
    elapsed: float = 0.0,
    severity: Severity = "critical",
    random: Callable[[], float] = lambda: 0.5,
) -> float | None:
    return POLICY.wait(delivery, attempt=attempt, elapsed_seconds=elapsed, severity=severity, random=random)


def test_the_bound_doubles_up_to_the_cap() -> None:
    waits = [_wait(attempt=attempt) for attempt in (1, 2, 3, 4, 9, 10, 11, 10_000)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 128.0, 150.0, 150.0, 150.0]


def test_what_was_delivered_or_refused_for_good_is_not_tried_again() -> None:
    assert _wait(Delivery(True, "HTTP 202")) is None
    assert _wait(Delivery(False, "HTTP 404")) is None


def test_a_receiver_that_names_a_time_is_not_asked_before_it() -> None:
    busy = Delivery(False, "HTTP 429", is_transient=True, retry_after=30.0)
    assert _wait(busy, random=lambda: 0.0) == 30.0
    assert _wait(busy, random=lambda: 0.5) == 30.5


@pytest.mark.parametrize(("severity", "deadline"), [("critical", 21_600.0), ("warning", 3_600.0), ("info", 600.0)])
def test_each_severity_is_tried_until_its_deadline(severity: Severity, deadline: float) -> None:
    assert _wait(severity=severity, elapsed=deadline - 0.1) is not None
    assert _wait(severity=severity, elapsed=deadline) is None


@given(
    st.integers(1, 10**9),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(SEVERITIES),
    st.none() | st.floats(0, 300),
)
def test_no_wait_is_negative_or_beyond_cap_and_request(
    attempt: int, number: float, severity: Severity, retry_after: float | None
) -> None:
    delivery = Delivery(False, "HTTP 429", is_transient=True, retry_after=retry_after)
    wait = _wait(delivery, attempt, 0.0, severity, lambda: number)
    assert wait is not None
    assert (retry_after or 0.0) <= wait <= (retry_after or 0.0) + 300.0
