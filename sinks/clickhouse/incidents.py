"""Reads incidents back from ClickHouse: the rows of `incidents` as the objects they were."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schemas.errors import UsageError
from schemas.incidents import NESTED_FIELDS, TIME_FIELDS, Incident
from schemas.times import EPOCH, parse_time
from sinks.clickhouse.client import Client

OPTIONAL = ("scope", "agent_id", "agent_version", "owner", "acknowledged_by", "follows", "followed_by", "merged_into")


def incident_of(row: Mapping[str, Any]) -> Incident:
    """One row of `incidents` or `incident_revisions`; empty text stands for null there."""
    fields = {name: row[name] for name in Incident.model_fields}
    for name in NESTED_FIELDS:
        if isinstance(fields[name], str):
            fields[name] = json.loads(fields[name]) if fields[name] else None
    for name in OPTIONAL:
        fields[name] = fields[name] or None
    for name in TIME_FIELDS:
        value = fields[name]
        if not isinstance(value, datetime) or value <= EPOCH:
            fields[name] = None
    fields["session_ids"] = tuple(fields["session_ids"])
    return Incident.model_validate(fields)


def newest(client: Client, limit: int, *, only_open: bool = False) -> list[Incident]:
    """The incidents that began last, newest first."""
    where = "WHERE status = 'open'" if only_open else ""
    rows = client.query(
        f"SELECT * FROM incidents FINAL {where} ORDER BY started_at DESC, incident_id LIMIT {{limit:UInt32}}",  # noqa: S608
        {"limit": limit},
    )
    return _with_acknowledgements(client, [incident_of(row) for row in rows])


def loudest(client: Client, limit: int) -> list[Incident]:
    """What is open, by severity, then by whose it is, the newest first. Of too many the quiet are left out."""
    rows = client.query(
        """SELECT * FROM incidents FINAL WHERE status = 'open'
        ORDER BY indexOf(['critical', 'warning', 'info'], toString(severity)), owner, started_at DESC, incident_id
        LIMIT {limit:UInt32}""",
        {"limit": limit},
    )
    return _with_acknowledgements(client, [incident_of(row) for row in rows])


def detected_between(client: Client, since: int, until: int) -> list[Incident]:
    """Those that were detected from `since` on, before `until` (microseconds), oldest first; withdrawn ones too."""
    rows = client.query(
        """SELECT * FROM incidents FINAL
        WHERE detected_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
            AND detected_at < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
        ORDER BY detected_at, incident_id""",
        {"since": since, "until": until},
    )
    return [incident_of(row) for row in rows]


def by_id(client: Client, prefix: str) -> Incident:
    """The incident whose id is, or begins with, `prefix`. Raises UsageError where there is none, or more than one."""
    rows = client.query(
        "SELECT * FROM incidents FINAL WHERE startsWith(incident_id, {prefix:String}) LIMIT 2", {"prefix": prefix}
    )
    if not rows:
        raise UsageError(f"There is no incident {prefix[:40]!r}: `aftermath incidents list` shows those there are.")
    if len(rows) > 1:
        raise UsageError(f"More than one incident begins with {prefix[:40]!r}: write more of its id.")
    return _with_acknowledgements(client, [incident_of(rows[0])])[0]


def _with_acknowledgements(client: Client, incidents: list[Incident]) -> list[Incident]:
    """Who has them in hand stands in a table of its own: it is said by people, not found in the log."""
    rows = client.query(
        "SELECT * FROM acknowledgements FINAL WHERE incident_id IN {ids:Array(String)}",
        {"ids": [incident.incident_id for incident in incidents]},
    )
    found = {(row["tenant"], row["incident_id"]): row for row in rows}
    return [
        incident.model_copy(
            update={
                "acknowledged_at": parse_time(row["acknowledged_at"]),
                "acknowledged_by": row["acknowledged_by"],
            }
        )
        if (row := found.get((incident.tenant, incident.incident_id)))
        else incident
        for incident in incidents
    ]


def timeline(client: Client, incident_id: str) -> list[dict[str, Any]]:
    """What happened in one incident, in order."""
    return client.query("SELECT * FROM timeline_of(incident_id = {id:String})", {"id": incident_id})
