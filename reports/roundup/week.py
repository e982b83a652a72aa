"""The week a roundup is about, with the four weeks before it, and who was there. Its values become parameters."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reports.postmortem.model import Parameters, Reader
from schemas.errors import UsageError

NAME = re.compile(r"(\d{4})-W(\d{2})")
WEEKS_BEFORE = 4
MOST = 20  # rows of a table


@dataclass(frozen=True, slots=True)
class Week:
    """From `start` on, before `end`; compared with what was from `before` on, before `start`. reader: for finders."""

    reader: Reader
    name: str
    parameters: Parameters

    def ask(self, **more: str | int) -> Parameters:
        """The parameters of every query about this week, and more."""
        return {**self.parameters, **more}

    def find(self, sql: str, *names: str) -> list[Parameters]:
        """The values of a finder as parameters, one dict a row, in its order."""
        rows = self.reader.query(sql, self.parameters)
        return [{name: row[name] for name in names} for row in rows]


def week_of(reader: Reader, name: str) -> Week:
    """The ISO week `2026-W47`: from Monday 00:00 UTC, seven days. Raises UsageError where it is none."""
    found = NAME.fullmatch(name)
    try:
        if found is None:
            raise ValueError
        start = datetime.fromisocalendar(int(found[1]), int(found[2]), 1).replace(tzinfo=UTC)
        before, end = start - timedelta(weeks=WEEKS_BEFORE), start + timedelta(weeks=1)
    except (ValueError, OverflowError):
        raise UsageError(f"{name[:40]!r} is no week; write the year and the ISO week, as 2026-W47.") from None
    times = {"start": start, "end": end, "before": before}
    return Week(reader, name, {key: f"{at:%Y-%m-%d %H:%M:%S}" for key, at in times.items()})
