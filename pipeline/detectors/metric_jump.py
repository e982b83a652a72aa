"""Metric jump: a metric of a resource leaves its usual level, and comes back.

Usual is the median of up to 60 points before, with the median absolute deviation as its spread (robust z, Iglewicz and
Hoaglin 1993). The point judged is never in its own baseline, and the baseline stands still while the jump is open; a
level that lasts 60 points becomes the usual one. Two points in a row open a jump, two close it. Where the name says
which way is bad (latency up, availability down) the good way is not a symptom. Cumulative series are judged by
their rate, across resets.

rows    MetricPoint rows of closed panes, ordered, with `pane`
memory  (tenant, resource, metric, labels) -> Series; about 1.5 kB; leaves after 48 h of silence
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from pipeline.core.evidence import reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from pipeline.core.rows import Rows
from pipeline.core.sessions import SessionIndex
from schemas.resources import name_of, scope_of
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MICROS, MINUTE

KEEP = 48 * 60 * MINUTE
POINTS = 60
ENOUGH = 12  # points before anything is judged
OPENS_AT, CLOSES_AT = 8.0, 4.0  # robust z
LEAST_CHANGE = 0.3  # of the usual level
LEAST_SPREAD = 0.05  # of the usual level, where a steady series has none
UP_IS_BAD = (
    "latency",
    "duration",
    "error",
    "fail",
    "restart",
    "lag",
    "throttl",
    "oom",
    "rejected",
    "timeout",
)
DOWN_IS_BAD = ("availab", "success", "ready", "healthy", "uptime")


@dataclass(slots=True)
class Series:
    """The last points of one series, and the jump it is in."""

    usual: deque[float] = field(default_factory=lambda: deque(maxlen=POINTS))
    beyond: list[float] = field(default_factory=list)  # points since it left
    previous: tuple[int, float] | None = None  # of a cumulative series
    direction: int = 0  # +1 up, -1 down: of the open jump, or of the point that may open one
    is_open: bool = False
    began: int = 0
    calm: int = 0  # points in a row back at the usual level


def fresh(_: SessionIndex | None = None) -> Memory[tuple[str, str, str, str | None], Series]:
    """An empty memory."""
    return Memory(Series, KEEP)


def detect(rows: Rows, memory: Memory[tuple[str, str, str, str | None], Series], limits: Limits) -> list[Signal]:
    """Judge every point, then learn from it; changes `memory`."""
    signals = []
    for row in rows.frame.iter_rows(named=True):
        key = (row["tenant"], row["resource"], row["metric"], row["labels"])
        series = memory.get(key, row["event_time"])
        value = _value(row, series)
        if value is None:
            continue
        said = _judge(row, value, series)
        if said is not None:
            signals.append(_signal(row, value, series, said, rows.pane_size, limits))
    return signals


def _value(row: dict[str, Any], series: Series) -> float | None:
    value: float = row["value"]
    if row["kind"] != "cumulative":
        return value
    before, series.previous = series.previous, (row["event_time"], value)
    if before is None or row["event_time"] <= before[0] or value < before[1]:
        return None  # the first point, or a reset: no rate
    elapsed: int = row["event_time"] - before[0]
    return (value - before[1]) / (elapsed / MICROS)


def _judge(row: dict[str, Any], value: float, series: Series) -> str | None:
    """`opens`, `closes` or None; moves the series on."""
    if len(series.usual) < ENOUGH:
        series.usual.append(value)
        return None
    usual, spread = level(series.usual)
    score = (value - usual) / spread
    direction = 1 if score > 0 else -1
    is_beyond = abs(score) > OPENS_AT and abs(value - usual) >= LEAST_CHANGE * abs(usual)
    if series.is_open:
        series.beyond.append(value)
        series.calm = series.calm + 1 if abs(score) < CLOSES_AT or direction != series.direction else 0
        if series.calm >= 2:
            _settle(series, series.beyond[-2:])
            return "closes"
        if len(series.beyond) >= POINTS:
            _settle(series, series.beyond)
            return "closes"
        return None
    if not (is_beyond and _is_bad(row["metric"], direction)):
        series.usual.extend([*series.beyond, value])
        series.beyond = []
        return None
    if series.beyond and direction == series.direction:
        series.beyond.append(value)
        series.is_open, series.calm = True, 0
        return "opens"
    series.usual.extend(series.beyond)
    series.beyond, series.direction, series.began = [value], direction, row["event_time"]
    return None


def level(points: deque[float]) -> tuple[float, float]:
    """Median and spread (1.4826 times the median absolute deviation, with a floor) of the points."""
    usual = median(points)
    spread = 1.4826 * median(abs(point - usual) for point in points)
    return usual, max(spread, LEAST_SPREAD * abs(usual), 1e-9)


def _settle(series: Series, learned: list[float]) -> None:
    series.usual.extend(learned)
    series.beyond, series.is_open, series.calm = [], False, 0


def _is_bad(metric: str, direction: int) -> bool:
    name = metric.lower()
    if any(word in name for word in DOWN_IS_BAD):
        return direction < 0
    return direction > 0 or not any(word in name for word in UP_IS_BAD)


def _signal(row: dict[str, Any], value: float, series: Series, said: str, pane_size: int, limits: Limits) -> Signal:
    usual, spread = level(series.usual)
    unit = f" {row['unit'].replace('{', '').replace('}', '')}" if row["unit"] and row["unit"] != "1" else ""
    verb = ("rose" if series.direction > 0 else "fell") if said == "opens" else "is back"
    shows = f"{row['metric']} of {name_of(row['resource'])} {verb} to {value:.4g}{unit}"
    shows += f", usually {usual:.4g}{unit}" if said == "opens" else ""
    event_id = stable_hash(row["tenant"], row["resource"], row["metric"], row["labels"], row["event_time"])
    evidence = {
        "metric": row["metric"],
        "labels": row["labels"],
        "value": value,
        "usual": usual,
        "spread": spread,
        "direction": series.direction,
        "is_over": said == "closes",
        "references": [reference(row, "system.metrics.v1", event_id, shows, kind="symptom", resource=row["resource"])],
    }
    return Signal(
        signal_id=stable_hash("symptom.metric", event_id, said),
        type="symptom.metric",
        tenant=row["tenant"],
        scope=scope_of(row["resource"]),
        resource=row["resource"],
        window_start=series.began if said == "opens" else row["event_time"],
        window_end=row["event_time"],
        detected_at=row["pane"] + pane_size,
        score=round(abs(value - usual) / spread, 2),
        severity="warning",
        summary=shows,
        evidence=compact_json(evidence),
        rule_version=limits.rule_version,
    )
