"""The timeline of an incident as rows for a person: what says the same is one row, and what decided it is marked."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from schemas.incidents import Evidence, Incident
from schemas.resources import name_of

DECISIVE = ("action", "change")
# a symptom of a metric begins with its name, its resource and what became of it (pipeline/core/jumps.py)
OF_METRIC = re.compile(r"\S+ of .+? (?:rose to|fell to|shifted up to|shifted down to|stays at|is back to|was off)")


@dataclass(frozen=True, slots=True)
class Row:
    """One line. until: the last of the same, None where there is one only."""

    at: int
    kind: str
    shows: str
    until: int | None
    is_decisive: bool


def rows_of(incident: Incident) -> list[Row]:
    """In order of time. Symptoms of one kind on several resources are one row, and so are the series of one metric."""
    groups: dict[tuple[str, str], list[Evidence]] = {}
    for item in sorted(incident.evidence, key=lambda item: (item.event_time, item.event_id)):
        groups.setdefault((item.type, _head(item)), []).append(item)
    decisive = _decisive(incident)
    found = [_row(kind, head, items, decisive) for (kind, head), items in groups.items()]
    return sorted(found, key=lambda row: (row.at, row.kind, row.shows))


def _head(item: Evidence) -> str:
    """What two rows have in common that say the same."""
    if item.type != "symptom":
        return item.event_id
    of_metric = OF_METRIC.match(item.shows)
    return f"{of_metric[0]} {item.resource}" if of_metric else item.shows.split(":")[0].split(" x")[0]


def _decisive(incident: Incident) -> frozenset[str]:
    """The events that decided: what is held responsible; where nothing is, what was seen last before it was opened."""
    named = frozenset(item.event_id for item in incident.evidence if item.type in DECISIVE)
    if named:
        return named
    before = [item for item in incident.evidence if item.event_time <= incident.detected_at and item.type != "fact"]
    last = max((item.event_time for item in before), default=None)
    return frozenset(item.event_id for item in before if item.event_time == last)


def _row(kind: str, head: str, items: list[Evidence], decisive: Iterable[str]) -> Row:
    first, last = items[0], items[-1]
    resources = {item.resource for item in items}
    shows, until = first.shows, None
    if kind == "symptom" and OF_METRIC.match(shows):
        if len(items) > 1:
            shows += (
                f" ({len(items)} times)" if len({item.event_time for item in items}) > 1 else f" ({len(items)} series)"
            )
            until = last.event_time if last.event_time > first.event_time else None
    elif kind == "symptom" and len(items) > 1:
        where = name_of(first.resource) if len(resources) == 1 else f"{len(resources)} resources"
        message = first.shows.partition(":")[2]
        shows = f"{head} on {where}" + (f":{message}" if message else "")
        until = last.event_time
    elif kind == "symptom" and first.resource and name_of(first.resource) not in shows:
        shows = f"{name_of(first.resource)}: {shows}"
    return Row(first.event_time, kind, shows, until, any(item.event_id in decisive for item in items))
