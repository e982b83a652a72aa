"""Hears how long ClickHouse, or a proxy in front of it, asks to wait: of an error the driver keeps the text alone."""

import email.utils
import threading
from collections.abc import Mapping
from typing import Any

from schemas.retry_after import parse_retry_after
from schemas.times import parse_time


class ListeningPool:
    """The connections of one client, as the driver uses them (`pool_mgr`), which notes `Retry-After` of each answer."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._heard = threading.local()  # each thread asks, and waits, by itself

    def request(self, method: str, url: str, **options: Any) -> Any:
        """One request; the pool's errors."""
        self._heard.seconds = None
        answer = self._pool.request(method, url, **options)
        self._heard.seconds = seconds_in(answer.headers)
        return answer

    def clear(self) -> None:
        """Close the connections."""
        self._pool.clear()

    @property
    def retry_after(self) -> float | None:
        """Seconds that the last answer to this thread asked to wait."""
        seconds: float | None = getattr(self._heard, "seconds", None)
        return seconds


def seconds_in(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` says; a date is taken against the answer's own `Date`. None where it says nothing."""
    answered: int | None
    try:
        answered = parse_time(email.utils.parsedate_to_datetime(headers.get("Date", "")))
    except ValueError:
        answered = None
    return parse_retry_after(headers.get("Retry-After"), answered)
