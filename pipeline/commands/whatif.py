"""`aftermath whatif INCIDENT`."""

import argparse

from pipeline.commands.connection import reading_client
from pipeline.commands.terminal import terminal
from pipeline.correlation.whatif import Known, Values, by_session, fact_of, span_of, what_if
from reports.whatif import render
from schemas.incidents import Incident
from schemas.times import MINUTE
from schemas.whatif import WhatIf
from sinks.clickhouse import incidents as stored
from sinks.clickhouse import whatif as raw
from sinks.clickhouse.client import Client

DAY = 24 * 60 * MINUTE


def run(args: argparse.Namespace) -> int:
    """Replay and print."""
    values = Values(steps=args.steps, repeats=args.repeats, tokens=args.tokens)
    with reading_client() as client:
        found = replay(client, stored.by_id(client, args.incident_id), values, args.days)
    print(found.model_dump_json() if args.json else render(found, min(110, terminal().width)))
    return 0


def replay(client: Client, incident: Incident, values: Values, days: int, most: int = raw.MOST_SESSIONS) -> WhatIf:
    """The limits over the incident's sessions, and over healthy ones (at most `most`) of the days before it ended."""
    until = incident.updated_at
    tenant = incident.tenant
    sessions = by_session(map(span_of, raw.spans(client, tenant, incident.session_ids)))
    names = raw.healthy(client, tenant, until - days * DAY, until, most) if sessions else []
    healthy = by_session(map(span_of, raw.spans(client, tenant, names)))
    known = Known.of(fact_of(tenant, row) for row in raw.facts(client, tenant, until))
    return what_if(incident, sessions, healthy, known, values, days)
