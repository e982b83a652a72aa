"""Times are integer microseconds since 1970-01-01 UTC inside, RFC 3339 strings where people read."""

from datetime import UTC, datetime, timedelta

MICROS = 1_000_000
MINUTE = 60 * MICROS
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = int((datetime(2000, 1, 1, tzinfo=UTC) - EPOCH) / timedelta(microseconds=1))
LATEST = int((datetime(2200, 1, 1, tzinfo=UTC) - EPOCH) / timedelta(microseconds=1))


def parse_time(value: str | int | datetime) -> int:
    """Microseconds of an RFC 3339 string, of an aware datetime, or of an integer that is microseconds already.

    Raises ValueError where it is none of these, or a time without a zone.
    """
    if isinstance(value, bool):
        raise ValueError("a time is an RFC 3339 string or integer microseconds, not a boolean")
    if isinstance(value, int):
        return value
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"not an RFC 3339 time: {str(value)[:40]!r}; write 2026-03-01T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {str(value)[:40]!r}; write 2026-03-01T12:00:00Z")
    return (moment - EPOCH) // timedelta(microseconds=1)


def to_datetime(micros: int) -> datetime:
    """The same moment as an aware datetime in UTC."""
    return EPOCH + timedelta(microseconds=micros)


def format_time(micros: int) -> str:
    """RFC 3339 in UTC with a Z; microseconds only where there are any."""
    moment = to_datetime(micros)
    return moment.isoformat(timespec="microseconds" if micros % MICROS else "seconds").replace("+00:00", "Z")


def format_span(micros: int) -> str:
    """A length of time as a person says it: 45 s, 3 min 10 s, 2 h 5 min."""
    seconds = max(0, round(micros / MICROS))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {seconds} s" if seconds else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
