"""Two charts as SVG, one line each: the same row, the same bytes. Colours are classes, so that the page picks them.

Coordinates are whole pixels, so that no rounding of floats differs between machines.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any

from reports.incident import plain
from reports.lint import leave_out
from schemas.times import EPOCH, parse_time

WIDTH, LEFT, RIGHT, TOP = 760, 96, 16, 28
TOKENS_HEIGHT = 150
LANE_HEIGHT = 26
LANES = (
    ("fact", "facts"),
    ("action", "agent"),
    ("change", "changes"),
    ("signal", "signals"),
    ("symptom", "symptoms"),
)
MOST_TICKS = 8


def draw_tokens(row: Mapping[str, Any]) -> str:
    """Bars: tokens a minute; a band: the incident; a line: the median before it."""
    values = {minute: int(tokens) for minute, tokens in zip(row["points"], row["series"], strict=True)}
    first, last = min(values), max(values) + timedelta(minutes=1)
    peak = max(values.values())
    scale = _Scale(first, last)
    bottom = TOP + TOKENS_HEIGHT
    parts = [_band(scale, row["started"], row["ended"], bottom)]
    for minute, tokens in sorted(values.items()):
        height = max(1, tokens * TOKENS_HEIGHT // peak)
        x, right = scale.x(minute), scale.x(minute + timedelta(minutes=1))
        title = f"<title>{minute:%H:%M}: {tokens:,} tokens</title>"
        parts.append(
            f'<rect class="bar" x="{x}" y="{bottom - height}" width="{max(1, right - x - 1)}" height="{height}">'
            f"{title}</rect>"
        )
    if row["before"] is not None:
        y = bottom - min(TOKENS_HEIGHT, int(row["before"]) * TOKENS_HEIGHT // peak)
        parts.append(f'<line class="median" x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        parts.append(_text(LEFT - 8, y + 4, "median before", "end"))
    parts.append(_text(LEFT - 8, TOP + 4, f"{peak:,}", "end"))
    parts.append(_text(LEFT - 8, bottom + 4, "0" if row["before"] is None else "", "end"))
    return _svg(f"Tokens a minute of {row['agent_id']}", bottom, parts, scale)


def draw_lanes(row: Mapping[str, Any]) -> str:
    """A lane for each type of evidence; the band is the incident, the line its detection."""
    items = [
        (item["type"], EPOCH + timedelta(microseconds=parse_time(item["event_time"])), item["shows"])
        for item in row["items"]
    ]
    lanes = [(kind, label) for kind, label in LANES if any(item[0] == kind for item in items)]
    times = [at for _, at, _ in items]
    first = min(*times, row["started"]) - timedelta(seconds=30)
    last = max(*times, row["ended"]) + timedelta(seconds=30)
    scale = _Scale(first, last)
    bottom = TOP + LANE_HEIGHT * len(lanes)
    parts = [_band(scale, row["started"], row["ended"], bottom)]
    for number, (kind, label) in enumerate(lanes):
        y = TOP + LANE_HEIGHT * number + LANE_HEIGHT // 2
        parts.append(f'<line class="lane" x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        parts.append(_text(LEFT - 8, y + 4, label, "end"))
        for at, shows in [(at, shows) for item, at, shows in items if item == kind]:
            title = f"<title>{at:%H:%M:%S}: {_safe(shows)}</title>"
            parts.append(f'<circle class="mark {kind}" cx="{scale.x(at)}" cy="{y}" r="5">{title}</circle>')
    x = scale.x(row["detected"])
    parts.append(f'<line class="detected" x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}"/>')
    parts.append(_text(x, TOP - 8, f"detected {row['detected']:%H:%M:%S}", "middle"))
    return _svg("The incident in lanes", bottom, parts, scale)


class _Scale:
    """Times to pixels."""

    def __init__(self, first: datetime, last: datetime) -> None:
        self.first, self.last = first, max(last, first + timedelta(seconds=1))

    def x(self, at: datetime) -> int:
        room = WIDTH - LEFT - RIGHT
        share = (min(max(at, self.first), self.last) - self.first) * room // (self.last - self.first)
        return LEFT + share

    def ticks(self) -> Sequence[datetime]:
        """Whole minutes, few enough to be read."""
        minutes = (self.last - self.first) // timedelta(minutes=1) + 1
        step = next(step for step in (1, 2, 5, 10, 15, 30, 60, 120, 240, 720, minutes) if minutes <= step * MOST_TICKS)
        start = self.first.replace(second=0, microsecond=0)
        start -= timedelta(minutes=(start.hour * 60 + start.minute) % step)
        found = [start + timedelta(minutes=step * number) for number in range(MOST_TICKS + 2)]
        return [at for at in found if self.first <= at <= self.last]


def _band(scale: _Scale, started: datetime, ended: datetime, bottom: int) -> str:
    x, right = scale.x(started), scale.x(ended)
    return f'<rect class="band" x="{x}" y="{TOP}" width="{max(1, right - x)}" height="{bottom - TOP}"/>'


def _text(x: int, y: int, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{_safe(text)}</text>' if text else ""


def _safe(text: object) -> str:
    return escape(leave_out(" ".join(plain(str(text)).split())))


def _svg(title: str, bottom: int, parts: Sequence[str], scale: _Scale) -> str:
    ticks = "".join(
        f'<line class="tick" x1="{scale.x(at)}" y1="{bottom}" x2="{scale.x(at)}" y2="{bottom + 5}"/>'
        + _text(scale.x(at), bottom + 19, f"{at:%H:%M}", "middle")
        for at in scale.ticks()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 28}" role="img" '
        f'aria-label="{_safe(title)}"><title>{_safe(title)}</title>{"".join(parts)}{ticks}</svg>'
    )
