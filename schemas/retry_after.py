"""What `Retry-After` of an HTTP answer asks for (RFC 9110, section 10.2.3)."""

import email.utils
from datetime import UTC

from schemas.times import EPOCH, MICROS

LONGEST_RETRY_AFTER = 300.0  # seconds; the cap of the back-off


def parse_retry_after(value: str | None, now: int | None) -> float | None:
    """Seconds to wait, from a number or an HTTP date, at most five minutes; None where it is neither.

    A date says nothing where `now` is not known.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_RETRY_AFTER)
    if now is None:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - EPOCH).total_seconds() - now / MICROS, 0.0), LONGEST_RETRY_AFTER)
