"""How long ClickHouse asks to wait, as each thread hears it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from sinks.clickhouse.listening import ListeningPool, seconds_in

DATE = "Mon, 02 Mar 2026 10:00:30 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Date": DATE}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "7", "Date": DATE}, 7.0),
        ({"Retry-After": "7", "Date": "soon"}, 7.0),
        ({"Retry-After": "100000"}, 300.0),
        ({"Retry-After": "Mon, 02 Mar 2026 10:01:00 GMT", "Date": DATE}, 30.0),
        ({"Retry-After": "Mon, 02 Mar 2026 10:00:00 GMT", "Date": DATE}, 0.0),
        ({"Retry-After": "Mon, 02 Mar 2026 10:01:00 GMT"}, None),
        ({"Retry-After": "tomorrow", "Date": DATE}, None),
    ],
)
def test_seconds_and_dates(headers: Mapping[str, str], expected: float | None) -> None:
    assert seconds_in(headers) == expected


@dataclass
class Answer:
    headers: dict[str, str] = field(default_factory=dict)


class Pool:
    """Answers with what it is told."""

    def request(self, method: str, url: str, headers: dict[str, str]) -> Answer:
        if "fails" in headers:
            raise ConnectionResetError
        return Answer(headers)

    def clear(self) -> None:
        """Nothing is open."""


def test_each_thread_hears_its_own_last_answer_and_nothing_where_there_was_none() -> None:
    pool = ListeningPool(Pool())
    assert pool.retry_after is None
    pool.request("POST", "/", headers={"Retry-After": "7"})
    other = threading.Thread(target=pool.request, args=("POST", "/"), kwargs={"headers": {"Retry-After": "9"}})
    other.start()
    other.join()
    assert pool.retry_after == 7.0
    with pytest.raises(ConnectionResetError):
        pool.request("POST", "/", headers={"fails": "yes"})
    assert pool.retry_after is None
