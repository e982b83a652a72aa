"""What is said of a series that has left what is usual for it: the sentences and signals of metric_jump.py. Pure."""

import math
import re
from dataclasses import dataclass
from typing import Any

from pipeline.core.evidence import reference
from pipeline.core.limits import Limits
from schemas.resources import name_of, scope_of
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import format_span, format_time

BYTES = ("By", "byte", "bytes")
PREFIXES = ("", "k", "M", "G", "T", "P")
ANNOTATION = re.compile(r"\{(\w+)\}")
COLUMNS = ("tenant", "resource", "metric", "labels", "unit", "value", "event_time", "pane", "partition", "offset")


@dataclass(frozen=True, slots=True)
class Said:
    """A row that a signal is due for. value, usual, spread: on the metric's own scale."""

    slot: int
    place: int
    said: str  # opens, speaks (and is still off), closes or stays
    value: float
    usual: float
    score: float
    limit: float
    direction: int
    is_shift: bool
    began: int
    points: int
    spacing: float


@dataclass(frozen=True, slots=True)
class Silent:
    """A series that is off and sends nothing any more, as of the first pane of the partition that shows it."""

    slot: int
    last: int
    pane: int


def jump_signal(row: dict[str, Any], one: Said, pane_size: int, limits: Limits) -> Signal:
    """An onset, that it is still off after a silence, or how it ended."""
    shows = f"{row['metric']} of {name_of(row['resource'])} {_verb(one)} {amount(one.value, row['unit'])}"
    if one.said in ("opens", "speaks"):
        shows += f", usually {amount(one.usual, row['unit'])}"
    elif one.said == "stays":
        shows += f" for {format_span(row['event_time'] - one.began)}: that is its usual level from now on"
    event_id = stable_hash(row["tenant"], row["resource"], row["metric"], row["labels"], row["event_time"])
    shape = "level_shift" if one.is_shift or one.said == "stays" else "spike" if one.direction > 0 else "drop"
    evidence = {
        "metric": row["metric"],
        "labels": row["labels"],
        "value": one.value,
        "usual": one.usual,
        "direction": one.direction,
        "limit": round(one.limit, 2),
        "points": one.points,
        "spacing_seconds": round(one.spacing, 1),
        "is_over": one.said in ("closes", "stays"),
        "is_usual_now": one.said == "stays",
        "references": [reference(row, "system.metrics.v1", event_id, shows, kind="symptom", resource=row["resource"])],
    }
    return Signal(
        signal_id=stable_hash("symptom.metric", event_id, one.said),
        type=f"symptom.{shape}",
        tenant=row["tenant"],
        scope=scope_of(row["resource"]),
        resource=row["resource"],
        window_start=one.began if one.said == "opens" else row["event_time"],
        window_end=row["event_time"],
        detected_at=row["pane"] + pane_size,
        score=round(one.score, 2),
        severity="warning",
        summary=shows,
        evidence=compact_json(evidence),
        rule_version=limits.rule_version,
    )


def amount(value: float, unit: str | None) -> str:
    """A number and its unit as a person says it: `3.713 GB` of 3.713e9 By, `500 connections`, `0.12 s`."""
    power, shown = 0, value
    if abs(value) >= (1_000 if unit in BYTES else 10_000):
        power = min(len(PREFIXES) - 1, int(math.log10(abs(value)) // 3))
        shown = value / 1_000**power
    prefix = PREFIXES[power]
    if unit in BYTES:
        return f"{shown:.4g} {prefix}B"
    counted = ANNOTATION.fullmatch(unit or "")
    if counted:  # the UCUM way to say what is counted
        word = counted[1] if value == 1 or counted[1].endswith("s") else f"{counted[1]}s"
        return f"{shown:.4g}{f' {prefix}' if prefix else ''} {word}"
    name = (unit or "").replace("{", "").replace("}", "")
    return f"{shown:.4g}{f' {prefix}' if prefix else ''}{f' {name}' if name not in ('', '1') else ''}"


def silent_signal(row: dict[str, Any], one: Silent, pane_size: int, limits: Limits) -> Signal:
    """No all-clear: what is known of it ends at its last point."""
    name = f"{row['metric']} of {name_of(row['resource'])}"
    shows = f"{name} was off when it sent its last point, at {format_time(one.last)}; nothing came since"
    event_id = stable_hash(row["tenant"], row["resource"], row["metric"], row["labels"], row["event_time"])
    evidence = {
        "metric": row["metric"],
        "labels": row["labels"],
        "is_over": True,
        "is_silent": True,
        "references": [reference(row, "system.metrics.v1", event_id, shows, kind="symptom", resource=row["resource"])],
    }
    return Signal(
        signal_id=stable_hash("symptom.silent", event_id, one.last),
        type="symptom.silent",
        tenant=row["tenant"],
        scope=scope_of(row["resource"]),
        resource=row["resource"],
        window_start=one.last,
        window_end=one.pane,
        detected_at=one.pane + pane_size,
        severity="warning",
        summary=shows,
        evidence=compact_json(evidence),
        rule_version=limits.rule_version,
    )


def _verb(one: Said) -> str:
    if one.said == "closes":
        return "is back to"
    if one.said == "speaks":
        return "is heard of again, at"
    if one.said == "stays":
        return "stays at"
    if one.is_shift:
        return "shifted up to" if one.direction > 0 else "shifted down to"
    return "rose to" if one.direction > 0 else "fell to"
