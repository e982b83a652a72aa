"""`aftermath replay --from T --to T`: what is stored, or still on Kafka, once more through the detectors of today.

The comparison set is files: no row of the database is touched, no page is sent, and nothing goes to Kafka. It has no
memory at first, so begin an hour before what you look at: budgets, baselines and older facts are not known yet.
"""

import argparse
import json
from collections.abc import Iterator

from pipeline.backtest import Backtest
from pipeline.commands.backtest import compare, write
from pipeline.commands.connection import kafka_to_use, reading_client
from pipeline.commands.terminal import terminal
from pipeline.limits import load_limits
from pipeline.log_stretches import log_stretches
from pipeline.settings import load_settings
from reports.table import incident_list
from schemas.codecs import Decoded
from schemas.errors import UsageError
from schemas.incidents import Incident
from schemas.times import format_time, parse_time
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.client import Client
from sinks.clickhouse.raw import stretches

TABLES = "tables"  # else kafka
# Two findings are the same where these are; places in the log and wording may differ.
COMPARED = ("kind", "status", "severity", "scope", "agent_id", "agent_version", "started_at", "detected_at")


def run(args: argparse.Namespace) -> int:
    """Read, judge, compare; exit code 1 where the two differ."""
    since, until = _time(args.since), _time(args.until)
    if since >= until:
        raise UsageError(f"--from {args.since} is not before --to {args.until}.")
    backtest = Backtest(load_limits(args.limits or load_settings().limits_file))
    with reading_client() as client:
        events, unreadable = 0, 0
        for chunk in _source(args.source, client, since, until):
            events += sum(part.frame.height for part in chunk)
            unreadable += sum(len(part.rejected) for part in chunk)
            backtest.read(chunk)
        before = stored.detected_between(client, since, until)
    backtest.finish()
    found = backtest.outcomes.incidents
    if args.out is not None:
        write(args.out, backtest)
    difference = difference_of(before, found) if args.against is None else compare(args.against, found)
    if args.json:
        incidents = [incident.model_dump(mode="json") for incident in found]
        document = {"events": events, "unreadable": unreadable, "incidents": incidents, "against": difference}
        print(json.dumps(document, ensure_ascii=False))
    else:
        left_out = f", {unreadable:,} unreadable left out" if unreadable else ""
        print(f"{events:,} events of {args.source}{left_out}, from {format_time(since)} to {format_time(until)}")
        if found:
            screen = terminal()
            screen.print(incident_list(found, screen.width))
        for name, ids in difference.items():
            print(f"{name}: {', '.join(ids) or 'none'}")
    return 1 if any(difference.values()) else 0


def _source(name: str, client: Client, since: int, until: int) -> Iterator[list[Decoded]]:
    """The frames of the stretch: those of the raw tables, or of the topics as they are on Kafka."""
    if name == TABLES:
        return stretches(client, since, until)
    if load_settings().schema_registry_url is not None:
        raise UsageError(
            "--source kafka reads messages with our own header; with a schema registry take --source tables."
        )
    return log_stretches(kafka_to_use(), since, until)


def difference_of(before: list[Incident], after: list[Incident]) -> dict[str, list[str]]:
    """Ids of incidents added, removed and judged otherwise than they are stored."""
    old, new = ({incident.incident_id: incident for incident in found} for found in (before, after))
    return {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(name for name in old.keys() - new.keys() if old[name].status != "withdrawn"),
        "changed": sorted(name for name in old.keys() & new.keys() if _judged(old[name]) != _judged(new[name])),
    }


def _judged(incident: Incident) -> tuple[object, ...]:
    cause = incident.attribution
    waste = incident.exhaustion.unplanned_tokens if incident.exhaustion else 0
    gaps = sorted((gap.event_id, gap.class_) for gap in incident.context_gaps)
    missing = sorted(gap.gap for gap in incident.governance_gaps)
    fields = [getattr(incident, name) for name in COMPARED]
    return (*fields, cause.verdict, round(cause.probability, 3), waste, gaps, missing)


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise UsageError(f"{error}.") from None
