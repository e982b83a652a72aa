"""Incidents as a table for a terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from reports.incident import clock, day, plain
from schemas.incidents import Incident

STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


def incident_table(incidents: Sequence[Incident]) -> Table:
    """One row an incident; the title wraps."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, expand=False)
    for name in ("id", "since (UTC)", "severity", "status", "verdict", "what happened"):
        table.add_column(name, no_wrap=name != "what happened", overflow="fold")
    for incident in incidents:
        attribution = incident.attribution
        table.add_row(
            incident.incident_id[:8],
            f"{day(incident.started_at)} {clock(incident.started_at)}",
            Text(incident.severity, STYLES[incident.severity]),
            incident.status,
            f"{attribution.verdict} {attribution.probability:.0%}",
            Text(plain(incident.title)),
        )
    return table
