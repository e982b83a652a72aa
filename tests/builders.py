"""Builders with defaults: a test says only what matters to it. Times are seconds after T0."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import polars as pl

from pipeline.core.limits import Limits
from pipeline.core.observed import ObservedMemory, actions_of
from pipeline.core.rows import Rows, with_sessions
from pipeline.core.sessions import SessionIndex
from schemas import registry
from schemas.codecs import Decoded
from schemas.events import RECORD_TOPICS
from schemas.signals import Signal, Usage
from schemas.times import MICROS, parse_time
from schemas.usage import COLUMNS, KEY, SUMS, usage_of

T0 = parse_time("2026-03-02T14:00:00Z")
TIMES = ("event_time", "start_time", "published_time", "valid_from", "valid_until")


def at(seconds: float) -> int:
    """Microseconds of this many seconds after T0."""
    return T0 + round(seconds * MICROS)


def span(seconds: float, **fields: Any) -> dict[str, Any]:
    """An AgentSpan that ended `seconds` after T0."""
    name = f"span-{seconds}"
    row = {
        "type": "agent_span",
        "event_time": at(seconds),
        "tenant": "acme",
        "trace_id": "trace-1",
        "span_id": name,
        "session_id": "session-1",
        "agent_id": "agent-1",
        "operation": "execute_tool",
        "tool_name": "get",
    }
    return row | fields


def metric(seconds: float, value: float, **fields: Any) -> dict[str, Any]:
    """A MetricPoint."""
    row = {
        "type": "metric_point",
        "event_time": at(seconds),
        "tenant": "acme",
        "resource": "prod/shop/deployment/cart",
        "metric": "latency_p95",
        "value": value,
    }
    return row | fields


def event(seconds: float, event_id: str, kind: str, resource: str, **fields: Any) -> dict[str, Any]:
    """A ClusterEvent."""
    row = {
        "type": "cluster_event",
        "event_time": at(seconds),
        "tenant": "acme",
        "event_id": event_id,
        "kind": kind,
        "resource": resource,
    }
    return row | fields


def frame(record: str, rows: Sequence[Mapping[str, Any]], ingest: Sequence[int] | None = None) -> pl.DataFrame:
    """Rows as decode hands them out; ingest times default to the running maximum of the event times."""
    schema = registry.newest(record)
    defaults = {field.name: field.default for field in schema.fields}
    full = [defaults | {key: value for key, value in row.items() if key in defaults} for row in rows]
    stamps = list(ingest) if ingest is not None else [int(row["event_time"]) for row in rows]
    top, running = 0, []
    for stamp in stamps:
        top = max(top, stamp)
        running.append(top)
    return pl.DataFrame(full, schema=schema.columns, orient="row").with_columns(
        partition=pl.lit(0, dtype=pl.Int32),
        offset=pl.int_range(pl.len(), dtype=pl.Int64),
        ingest_time=pl.Series(running, dtype=pl.Int64),
    )


def decoded(record: str, rows: Sequence[Mapping[str, Any]], newest: int | None = None) -> Decoded:
    """A decoded batch of these rows, and of a tick at `newest` where that is given."""
    made = frame(record, rows)
    top = int(made["ingest_time"][-1]) if made.height else 0
    return Decoded(RECORD_TOPICS[record], 0, made, (), int(newest is not None), max(top, newest or 0))


def usage(pane: int, calls: int, **fields: Any) -> Usage:
    """A Usage message with one row."""
    sums = dict.fromkeys(SUMS, 0) | {"calls": calls}
    row = dict.fromkeys(KEY) | {"agent_id": "agent-1", "operation": "chat"} | sums | fields
    return usage_of("acme", pane, "agent.traces.v1/0", pl.DataFrame([row], schema=COLUMNS))


PANE = 5_000_000


def closed_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame as Panes hands it out: start times filled in, a column `pane`."""
    if "start_time" in frame.columns:
        began = pl.col("event_time") - pl.col("duration_ms") * 1000
        frame = frame.with_columns(start_time=pl.coalesce("start_time", began))
    return frame.with_columns(pane=pl.col("event_time") // PANE * PANE)


def run_detector(module: ModuleType, frames: Sequence[pl.DataFrame], limits: Limits | None = None) -> list[Signal]:
    """The signals of a detector over frames of closed rows, one call each, memory carried on."""
    index = SessionIndex()
    memory, observed = module.fresh(index), ObservedMemory(index)
    found = []
    for frame_of_panes in frames:
        rows = Rows(frame_of_panes, PANE)
        if "span_id" in frame_of_panes.columns:
            with_sessions(rows, index)
            rows.actions = actions_of(rows, observed)
        found += module.detect(rows, memory, limits or Limits())
    return found
