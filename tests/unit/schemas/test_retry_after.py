"""How long an answer asks to wait."""

import pytest

from schemas.retry_after import parse_retry_after
from schemas.times import parse_time

NOW = parse_time("2026-03-02T10:00:30Z")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("0", 0.0),
        ("120", 120.0),
        ("9" * 400, 300.0),
        ("Mon, 02 Mar 2026 10:01:00 GMT", 30.0),
        ("Mon, 02 Mar 2026 09:00:00 GMT", 0.0),
        ("Mon, 02 Mar 2037 09:00:00 GMT", 300.0),
        ("Mon, 99 Mar 2026 09:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(value: str | None, expected: float | None) -> None:
    assert parse_retry_after(value, NOW) == expected
