"""Incidents as a list for a terminal: a line of facts and, below it, what happened, at any width."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from reports.incident import clock, day, plain, verdict_of
from schemas.incidents import Incident
from schemas.resources import name_of

STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
INDENT = " " * 10


def incident_list(incidents: Sequence[Incident], width: int) -> Text:
    """One entry an incident; nothing is longer than `width` where words allow it."""
    out = Text(f"{'id':<10}{'since (UTC)':<21}{'severity':<10}{'status':<10}verdict\n", style="bold")
    for incident in incidents:
        since = f"{day(incident.started_at)} {clock(incident.started_at)}"
        out.append(f"{incident.incident_id[:8]:<10}{since:<21}", style="not bold")
        out.append(f"{incident.severity:<10}", style=f"not bold {STYLES[incident.severity]}")
        out.append(f"{incident.status:<10}{verdict_of(incident.attribution)}\n", style="not bold")
        title = textwrap.wrap(plain(incident.title), width, initial_indent=INDENT, subsequent_indent=INDENT)
        out.append("\n".join(title) + "\n", style="not bold")
    return out


def timeline_line(row: Mapping[str, Any]) -> str:
    """A row of `incident_timeline`: a warning of Kubernetes says what, not of whom."""
    name = name_of(row["resource"]) if row["type"] == "symptom" else ""
    of = f"{name}: " if name not in row["shows"] else ""
    return f"{row['event_time']:%Y-%m-%d %H:%M:%S}  {row['type']:<12} {plain(of + row['shows'])}"
