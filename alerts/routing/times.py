"""Time intervals: when a route is mute, or the only times it is active. Alertmanager's form and meaning.

    times: [{start_time: "09:00", end_time: "17:00"}]   end excluded; "24:00" is the end of the day
    weekdays: ["monday:friday", sunday]
    days_of_month: ["1:5", "-3:-1"]                     -1 is the last day of the month
    months: ["january:march", "12"]
    years: ["2026:2027"]
    location: Europe/Berlin                             else UTC

A moment is inside when every field that is given has a part that holds.
"""

import calendar
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator

from schemas.times import to_datetime

WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS = tuple(name.lower() for name in calendar.month_name)  # the first is empty: January is 1
CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|(24):(00)")
DAY_MINUTES = 24 * 60
Range = tuple[int, int]


def _minutes(value: Any) -> int:
    found = CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'write a time of day as "09:30", in quotes, not {str(value)[:20]!r}')
    hours, minutes = (part for part in found.groups() if part is not None)
    return int(hours) * 60 + int(minutes)


Minutes = Annotated[int, BeforeValidator(_minutes)]


class TimeOfDay(BaseModel):
    """Start included, end excluded."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    start_time: Minutes
    end_time: Minutes

    @field_validator("end_time")
    @classmethod
    def _after(cls, value: int, info: Any) -> int:
        if value <= info.data.get("start_time", -1):
            raise ValueError("end_time must be after start_time; an interval over midnight is two")
        return value


def _ranges(names: Sequence[str], least: int, most: int) -> BeforeValidator:
    """Reads `a:b` or `a`, by name or number."""

    def number(text: str) -> int:
        if text.lower() in names:
            return names.index(text.lower())
        if not re.fullmatch(r"-?\d{1,4}", text) or not least <= int(text) <= most:
            raise ValueError(f"{text[:20]!r} is not between {least} and {most}")
        return int(text)

    def read(value: Any) -> tuple[Range, ...]:
        if not isinstance(value, list):
            raise ValueError("write a list")
        found = []
        for item in value:
            start, colon, end = str(item).strip().partition(":")
            first, last = number(start.strip()), number((end if colon else start).strip())
            if first > last and (first < 0) == (last < 0):
                raise ValueError(f"{str(item)[:40]!r} ends before it begins")
            found.append((first, last))
        return tuple(found)

    return BeforeValidator(read)


class TimeInterval(BaseModel):
    """One entry; a named interval is several of them, of which one must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    times: tuple[TimeOfDay, ...] = ()
    weekdays: Annotated[tuple[Range, ...], _ranges(WEEKDAYS, 0, 6)] = ()
    days_of_month: Annotated[tuple[Range, ...], _ranges((), -31, 31)] = ()
    months: Annotated[tuple[Range, ...], _ranges(MONTHS, 1, 12)] = ()
    years: Annotated[tuple[Range, ...], _ranges((), 1970, 9999)] = ()
    location: str = "UTC"

    @field_validator("days_of_month")
    @classmethod
    def _no_zero(cls, value: tuple[Range, ...]) -> tuple[Range, ...]:
        if any(0 in part for part in value):
            raise ValueError("there is no day 0 of a month")
        return value

    @field_validator("location")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{value[:40]!r} is no time zone; write one like Europe/Berlin") from None
        return value

    def contains(self, now: int) -> bool:
        """Whether a moment, in microseconds UTC, is inside."""
        local = to_datetime(now).astimezone(ZoneInfo(self.location))
        minute = local.hour * 60 + local.minute
        return (
            (not self.times or any(part.start_time <= minute < part.end_time for part in self.times))
            and _holds(self.weekdays, local.isoweekday() % 7)
            and (not self.days_of_month or any(_has_day(part, local) for part in self.days_of_month))
            and _holds(self.months, local.month)
            and _holds(self.years, local.year)
        )


def _holds(ranges: tuple[Range, ...], value: int) -> bool:
    return not ranges or any(first <= value <= last for first, last in ranges)


def _has_day(part: Range, local: datetime) -> bool:
    days = calendar.monthrange(local.year, local.month)[1]
    first, last = (day if day > 0 else days + 1 + day for day in part)
    return max(first, 1) <= local.day <= min(last, days)
