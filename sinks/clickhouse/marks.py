"""What on-call says of an incident: useful, or noise. The newest mark of an incident wins; nothing else is changed."""

from typing import Literal, get_args

import polars as pl

from schemas.incidents import Incident
from sinks.clickhouse.client import Client
from sinks.clickhouse.rows import TIME

Mark = Literal["useful", "noise"]
MARKS: tuple[Mark, ...] = get_args(Mark)


def write_mark(client: Client, incident: Incident, mark: Mark, marked_by: str, at: int) -> None:
    """at: when it was said, microseconds. Said again at the same moment it is the same row."""
    row = {
        "tenant": incident.tenant,
        "incident_id": incident.incident_id,
        "mark": mark,
        "marked_by": marked_by,
        "marked_at": at,
    }
    frame = pl.DataFrame([row]).with_columns(pl.col("marked_at").cast(TIME))
    client.insert_frame("incident_marks", frame, f"mark:{incident.incident_id}:{mark}:{at}")
