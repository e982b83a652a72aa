"""The audit trail of one change, from prompt to mutation, as text: who asked, what was read, what was believed, the
decision, the approval, the call, its effect, what its watch says, what followed. Each link has its reference; a
missing one is named.

The links are rows of the view `trail_of` (sinks/clickhouse/migrations/0013_watches.sql).
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reports.incident import plain
from schemas.arguments import call_in_words
from schemas.resources import name_of

LABEL = 11  # width of the left column
MISSING = {
    "asked": "not recorded: no span of the session says who asked (requested_by)",
    "read": "nothing: no read of the session came before the call",
    "believed": "not recorded: no summary came with the call or before it",
    "decided": "not recorded: no span of operation decision came before the call",
    "approval": "none was asked for",
    "called": "not recorded",
    "effect": "not observed: no change of the target was published within 5 minutes",
    "watched": "not closed: ten minutes are not over, or the write was before anything was watched",
    "followed": "nothing: no incident cites this change or its session",
}
CANNOT_TELL = (
    "cannot decide: the cluster published no change of anything in the half hour after, so silence proves nothing"
)
MOST_READS = 8
MOST_FOLLOWED = 16


@dataclass(frozen=True, slots=True)
class Link:
    """One row of `trail_of`. reference: topic/partition@offset, else the id of what shows it."""

    link: str
    at: datetime
    who: str
    shows: str
    resource: str
    reference: str


def links_of(rows: Iterable[Mapping[str, Any]]) -> list[Link]:
    """The rows in their order."""
    return [
        Link(
            link=row["link"],
            at=row["at"],
            who=row["who"],
            shows=row["shows"],
            resource=row["resource"],
            reference=f"{row['topic']}/{row['partition']}@{row['offset']}" if row["topic"] else row["id"],
        )
        for row in rows
    ]


def render(span_id: str, links: Sequence[Link], width: int = 100, *, is_told: bool = True) -> str:
    """The whole trail; lines no longer than `width` where words allow it.

    is_told: whether the cluster told of changes after the call, so that an effect which is missing means something.
    """
    call = next((link for link in links if link.link == "called"), None)
    where = call.resource if call and call.resource else "a change that names no target"
    day = f" · {call.at:%Y-%m-%d}, UTC" if call else ""
    lines = [f"{plain(where)} · {span_id}{day}", ""]
    for name, missing in MISSING.items():
        if name == "effect" and not is_told:
            missing = CANNOT_TELL
        found = [link for link in links if link.link == name]
        texts = _TEXTS[name](found) if found else [f"— {missing}"]
        for number, text in enumerate(texts):
            first = f"  {name.capitalize() if number == 0 else '':<{LABEL}}"
            lines += textwrap.wrap(
                plain(text), width, initial_indent=first, subsequent_indent=" " * (LABEL + 12), break_long_words=False
            )
    return "\n".join(lines)


def _asked(links: Sequence[Link]) -> list[str]:
    return [_line(link, f"by {link.who}" + (f", for {link.shows}" if link.shows else "")) for link in links]


def _read(links: Sequence[Link]) -> list[str]:
    """The newest read of each target: what it still knew of it."""
    newest = {(link.shows, link.resource): link for link in links}
    times = {key: sum((link.shows, link.resource) == key for link in links) for key in newest}
    shown = list(newest.items())[-MOST_READS:]
    more = len(newest) - len(shown)
    texts = [f"{len(links)} reads" + (f", of {more} earlier targets and of these:" if more else ":")]
    for key, link in shown:
        often = f" ({times[key]} times, last)" if times[key] > 1 else ""
        texts.append(_line(link, f"{link.shows} {name_of(link.resource) if link.resource else ''}".rstrip() + often))
    return texts


def _said(links: Sequence[Link]) -> list[str]:
    return [_line(link, link.shows) for link in links]


def _approval(links: Sequence[Link]) -> list[str]:
    return [_line(link, link.shows + (f" by {link.who}" if link.who else "")) for link in links]


def _called(links: Sequence[Link]) -> list[str]:
    return [_line(link, f"{link.who}: {call_in_words(link.shows, link.resource)}") for link in links]


def _effect(links: Sequence[Link]) -> list[str]:
    return [_line(link, link.shows + (f" (by {link.who})" if link.who else "")) for link in links]


def _followed(links: Sequence[Link]) -> list[str]:
    """Symptoms that say the same are one line, with how many there were."""
    groups: dict[str, list[Link]] = {}
    for link in links:
        groups.setdefault(link.shows.split(":")[0].split(" x")[0], []).append(link)
    texts = []
    for items in list(groups.values())[:MOST_FOLLOWED]:
        first = items[0]
        resources = {item.resource for item in items}
        often = f" ({len(items)} times on {len(resources)} resources)" if len(items) > 1 else ""
        incident = f" [incident {first.who}]" if "/" not in first.reference else ""
        texts.append(_line(first, first.shows + often + incident))
    if len(groups) > MOST_FOLLOWED:
        texts.append(f"and {len(groups) - MOST_FOLLOWED} more")
    return texts


def _line(link: Link, text: str) -> str:
    return f"{link.at:%H:%M:%S}  {text}  [{link.reference}]"


_TEXTS = {
    "asked": _asked,
    "read": _read,
    "believed": _said,
    "decided": _said,
    "approval": _approval,
    "called": _called,
    "effect": _effect,
    "watched": _said,
    "followed": _followed,
}
