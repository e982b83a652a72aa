"""Lengths of time as people write them: 30s, 5m, 1h30m, 1d."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from schemas.times import MICROS

DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?(?:(\d{1,6})ms)?")
UNIT_MICROS = (86_400 * MICROS, 3_600 * MICROS, 60 * MICROS, MICROS, 1_000)


def parse_duration(value: Any) -> int:
    """Microseconds of `1h30m`, `30s`, `0s`. Raises ValueError."""
    found = DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if found is None:
        raise ValueError(f"{str(value)[:40]!r} is no length of time; write 30s, 5m, 4h or 1d")
    return sum(int(number or 0) * unit for number, unit in zip(found.groups(), UNIT_MICROS, strict=True))


Duration = Annotated[int, BeforeValidator(parse_duration)]
