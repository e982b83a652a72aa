"""Things into frames, in the columns of the tables. Pure; what ClickHouse has no value for is filled here.

An absent name is the empty text, an absent number or time stays null, as `migrations/` says column by column.
Times become Datetime of microseconds in UTC.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import orjson
import polars as pl

from schemas.controls import ALL, Control
from schemas.incidents import NESTED_FIELDS, Incident, Transition
from schemas.oncall import Acknowledgement
from schemas.registry import Schema, newest
from schemas.signals import Signal, Usage
from schemas.times import format_span
from schemas.usage import KEPT, tables_of
from schemas.watches import Watched
from sinks.redaction import redact

TIME = pl.Datetime("us", "UTC")
TIMES = frozenset(
    {
        *("event_time", "start_time", "published_time", "valid_from", "valid_until", "ingest_time", "pane", "at"),
        *("window_start", "window_end", "started_at", "detected_at", "updated_at", "resolved_at", "acknowledged_at"),
        *("effective_from", "first_seen_at", "began_at", "closed_at", "symptom_at"),
        "until",
    }
)
TABLES: Mapping[str, str] = {
    "agent_span": "agent_traces",
    "metric_point": "system_metrics",
    "cluster_event": "cluster_events",
}
STATE_ORDER = {"held": 0, "pending": 0, "failed": 1, "dropped": 2, "sent": 2}
NOT_SENT = {"held": "is held", "dropped": "was not sent", "failed": "could not be sent"}  # by state
NOT_STORED = (
    "group",
    "incident",
    "message",
    "partition",
    "reference",
    "told_at",
)  # what only notify needs, to send again
PREVIEW_COLUMNS = {"key": pl.String, "size": pl.Int64, "preview": pl.String}
TIMELINE_COLUMNS = {
    "tenant": pl.String,
    "incident_id": pl.String,
    "event_time": pl.Int64,
    "type": pl.String,
    "resource": pl.String,
    "agent_id": pl.String,
    "session_id": pl.String,
    "shows": pl.String,
    "topic": pl.String,
    "partition": pl.Int32,
    "offset": pl.Int64,
    "event_id": pl.String,
    "revision": pl.Int64,
}


def raw_frame(record: str, frame: pl.DataFrame, late: pl.Series | bool, topic: str) -> pl.DataFrame:
    """A decoded batch as rows of its raw table, redacted. `late` is one value, or one for each row."""
    names = [*newest(record).columns, "partition", "offset", "ingest_time"]
    is_late = late.cast(pl.UInt8) if isinstance(late, pl.Series) else pl.lit(int(late), dtype=pl.UInt8)
    found = frame.select(names).with_columns(is_late.alias("late"), pl.lit(topic).alias("topic"))
    return _filled(redact(found))


def signal_frame(signals: Sequence[Signal]) -> pl.DataFrame:
    return _filled(_of_dataclasses(signals, newest("signal")))


def usage_frame(usage: Sequence[Usage]) -> pl.DataFrame:
    """For `agent_usage`: the rows of every table."""
    return _filled(tables_of(usage).select("tenant", "pane", "source", *KEPT))


def incident_frame(incidents: Sequence[Incident]) -> pl.DataFrame:
    """For `incidents` and `incident_revisions`: nested parts as JSON, sessions as a list, three values drawn out."""
    columns = newest("incident").columns | {"session_ids": pl.List(pl.String)}
    rows = [
        {name: _nested(incident, name) if name in NESTED_FIELDS else getattr(incident, name) for name in columns}
        | {
            "verdict": incident.attribution.verdict,
            "probability": incident.attribution.probability,
            "unplanned_tokens": incident.exhaustion.unplanned_tokens if incident.exhaustion else 0,
        }
        for incident in incidents
    ]
    drawn = {"verdict": pl.String, "probability": pl.Float64, "unplanned_tokens": pl.Int64}
    return _filled(pl.DataFrame(rows, schema=columns | drawn, orient="row"))


def timeline_frame(incidents: Sequence[Incident]) -> pl.DataFrame:
    """One row for each piece of evidence and each transition. Later revisions repeat rows: their keys are the same."""
    rows = [row for incident in incidents for row in (*_evidence_rows(incident), *_transition_rows(incident))]
    return _filled(pl.DataFrame(rows, schema=TIMELINE_COLUMNS, orient="row"))


def notification_frame(notifications: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    columns = {name: kind for name, kind in newest("notification").columns.items() if name not in NOT_STORED}
    rows = [
        {name: item[name] for name in columns} | {"state_order": STATE_ORDER[item["state"]]} for item in notifications
    ]
    return _filled(pl.DataFrame(rows, schema=columns | {"state_order": pl.UInt8}, orient="row"))


LOOSENED_COLUMNS = {
    "version": pl.Int64,
    "effective_from": pl.Int64,
    "author": pl.String,
    "match": pl.String,
    "name": pl.String,
    "was": pl.String,
    "now_is": pl.String,
}


def limits_loosened_frame(found: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as they are, by LOOSENED_COLUMNS."""
    return _filled(pl.DataFrame(found, schema=LOOSENED_COLUMNS, orient="row"))


def control_frame(controls: Sequence[Control]) -> pl.DataFrame:
    return _filled(pl.DataFrame([asdict(item) for item in controls], schema=newest("control").columns, orient="row"))


def control_timeline_frame(controls: Sequence[Control]) -> pl.DataFrame:
    """For `incident_timeline`: what was done about an incident by holding its agent, or letting it go on."""
    rows = [
        {
            "tenant": item.tenant,
            "incident_id": item.incident_id,
            "event_time": item.at,
            "type": "control",
            "resource": None if item.target == ALL else item.target,
            "agent_id": item.agent_id,
            "session_id": None,
            "shows": _said_of(item),
            "topic": "",
            "partition": -1,
            "offset": -1,
            "event_id": item.control_id,
            "revision": 0,
        }
        for item in controls
        if item.incident_id is not None
    ]
    return _filled(pl.DataFrame(rows, schema=TIMELINE_COLUMNS, orient="row"))


def not_sent_frame(notifications: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """For `incident_timeline`: a row for each reason for which an alert was not sent. Waiting for its group is none."""
    rows = [
        {
            **dict.fromkeys(TIMELINE_COLUMNS),
            "tenant": item["tenant"],
            "incident_id": item["incident_id"],
            "event_time": item["at"],
            "type": "not_sent",
            "shows": f"{item['transition']} of {item['rule']} to {item['receiver']} {NOT_SENT[item['state']]}: "
            f"{item['detail']}",
            "topic": "",
            "partition": -1,
            "offset": -1,
            "event_id": f"{item['dedup_key']}/{item['reason'] or item['state']}",
            "revision": item["revision"],
        }
        for item in notifications
        if item["state"] in NOT_SENT and item["reason"] != "group_wait"
    ]
    return _filled(pl.DataFrame(rows, schema=TIMELINE_COLUMNS, orient="row"))


def _said_of(control: Control) -> str:
    end = "" if control.until is None else f" for {format_span(control.until - control.at)}"
    did = {"pause": "paused", "halt": "halted", "resume": "resumed"}[control.action]
    said = f"{control.about} {did}{end} by {control.author}: {control.reason}"
    return said if control.mode == "enforce" else f"in shadow, holding nobody: {said}"


def acknowledgement_frame(words: Sequence[Acknowledgement]) -> pl.DataFrame:
    """For `acknowledgements`."""
    return _filled(
        pl.DataFrame([asdict(word) for word in words], schema=newest("acknowledgement").columns, orient="row")
    )


def acknowledged_frame(words: Sequence[Acknowledgement]) -> pl.DataFrame:
    """For `incident_timeline`: who took an incident in hand."""
    rows = [
        {
            **dict.fromkeys(TIMELINE_COLUMNS),
            "tenant": word.tenant,
            "incident_id": word.incident_id,
            "event_time": word.acknowledged_at,
            "type": "acknowledged",
            "shows": f"acknowledged by {word.acknowledged_by}" + (f": {word.comment}" if word.comment else ""),
            "topic": "",
            "partition": -1,
            "offset": -1,
            "event_id": "acknowledged",
            "revision": 0,
        }
        for word in words
    ]
    return _filled(pl.DataFrame(rows, schema=TIMELINE_COLUMNS, orient="row"))


def watched_frame(watched: Sequence[Watched]) -> pl.DataFrame:
    """For `write_watches`."""
    return _filled(pl.DataFrame([asdict(one) for one in watched], schema=newest("watched").columns, orient="row"))


def dead_letter_frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Of the rows of `sinks.dead_letters.preview_row`."""
    columns = {name: kind for name, kind in newest("dead_letter").columns.items() if name not in ("key", "value")}
    return _filled(pl.DataFrame([dict(row) for row in rows], schema=columns | PREVIEW_COLUMNS, orient="row"))


def _filled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.col(pl.String).fill_null(""),
        *(pl.col(name).cast(TIME) for name in frame.columns if name in TIMES),
    )


def _of_dataclasses(rows: Sequence[Signal], schema: Schema) -> pl.DataFrame:
    if rows and {item.name for item in fields(rows[0])} != set(schema.columns):
        raise TypeError(f"{type(rows[0]).__name__} is not a row of {schema.name}")
    return pl.DataFrame([asdict(row) for row in rows], schema=schema.columns, orient="row")


def _nested(incident: Incident, name: str) -> list[str] | str | None:
    if name == "session_ids":
        return list(incident.session_ids)
    value = getattr(incident, name)
    if value is None:
        return None
    parts = value if isinstance(value, tuple) else (value,)
    dumped = [part.model_dump(mode="json", by_alias=True) for part in parts]
    return orjson.dumps(dumped if isinstance(value, tuple) else dumped[0]).decode()


def _evidence_rows(incident: Incident) -> Iterable[dict[str, Any]]:
    """Agent and session of an action are those of the candidate for the cause with the same event."""
    known = {
        name: candidate
        for candidate in incident.attribution.ranked
        for name in (candidate.event_id, candidate.span_id)
        if name is not None
    }
    for item in incident.evidence:
        candidate = known.get(item.event_id)
        yield {
            "tenant": incident.tenant,
            "incident_id": incident.incident_id,
            "event_time": item.event_time,
            "type": item.type,
            "resource": item.resource,
            "agent_id": candidate.agent_id if candidate else None,
            "session_id": candidate.session_id if candidate else None,
            "shows": item.shows,
            "topic": item.topic,
            "partition": item.partition,
            "offset": item.offset,
            "event_id": item.event_id,
            "revision": incident.revision,
        }


def _transition_rows(incident: Incident) -> Iterable[dict[str, Any]]:
    """Its life as correlate tells it; what tells none (a silent source) was opened once, and is over once."""
    steps: list[tuple[str, int, str]] = [(step.type, step.at, _linked(step)) for step in incident.transitions]
    if not steps:
        steps.append(("opened", incident.detected_at, incident.title))
        if incident.resolved_at is not None:
            steps.append(("resolved", incident.resolved_at, "incident resolved"))
    if incident.acknowledged_at is not None:
        by = f" by {incident.acknowledged_by}" if incident.acknowledged_by else ""
        steps.append(("acknowledged", incident.acknowledged_at, f"acknowledged{by}"))
    if incident.status == "withdrawn":
        steps.append(("withdrawn", incident.resolved_at or incident.updated_at, "incident withdrawn"))
    for kind, moment, shows in steps:
        yield {
            "tenant": incident.tenant,
            "incident_id": incident.incident_id,
            "event_time": moment,
            "type": kind,
            "resource": incident.scope,
            "agent_id": incident.agent_id,
            "session_id": None,
            "shows": f"{incident.title}: {shows}" if kind == "opened" and incident.transitions else shows,
            "topic": "",
            "partition": -1,
            "offset": -1,
            "event_id": kind,
            "revision": incident.revision,
        }


def _linked(step: Transition) -> str:
    return f"{step.shows}: incident {step.incident_id}" if step.incident_id else step.shows
