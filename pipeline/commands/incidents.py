"""`aftermath incidents list / show / timeline / ack / mark`."""

import argparse
import getpass
import json
from dataclasses import asdict

from pipeline.clock import now_micros
from pipeline.commands.connection import kafka_to_use, reading_client, writing_client
from pipeline.commands.terminal import terminal
from pipeline.commands.whatif import replay
from pipeline.correlation.whatif import Values
from pipeline.saying import say
from reports.incident import plain, render
from reports.table import incident_list, timeline_line
from schemas.incidents import Incident
from schemas.oncall import Acknowledgement
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.marks import write_mark

DAYS, MOST_HEALTHY = 7, 200  # of the sessions that limits are held against beside it: an answer at once


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    if args.action == "mark":
        return _mark(args)
    screen = terminal()
    with reading_client() as client:
        if args.action == "list":
            found = stored.newest(client, args.limit, only_open=args.open)
            if args.json:
                print(json.dumps([incident.model_dump(mode="json") for incident in found], ensure_ascii=False))
            elif found:
                screen.print(incident_list(found, screen.width))
            else:
                print("No open incidents." if args.open else "No incidents.")
            return 0
        incident = stored.by_id(client, args.incident_id)
        if args.action == "ack":
            return _acknowledge(args, incident)
        if args.action == "show":
            if args.json:
                print(incident.model_dump_json())
            else:
                what_if = replay(client, incident, Values(), DAYS, MOST_HEALTHY)
                print(render(incident, min(110, screen.width), what_if))
            return 0
        rows = stored.timeline(client, incident.incident_id)
        if args.json:
            print(json.dumps(rows, ensure_ascii=False, default=str))
        else:
            for row in rows:
                print(timeline_line(row))
        return 0


def _acknowledge(args: argparse.Namespace, incident: Incident) -> int:
    by = args.by or getpass.getuser()
    word = Acknowledgement(incident.tenant, incident.incident_id, now_micros(), by, args.comment)
    say(kafka_to_use(), word)
    if args.json:
        print(json.dumps(asdict(word), ensure_ascii=False))
    else:
        print(f"{incident.incident_id} is acknowledged by {plain(by)}: {plain(incident.title)}")
    return 0


def _mark(args: argparse.Namespace) -> int:
    with writing_client() as client:
        incident = stored.by_id(client, args.incident_id)
        write_mark(client, incident, args.mark, args.by, now_micros())
    said = {"incident_id": incident.incident_id, "mark": args.mark}
    print(json.dumps(said) if args.json else f"{incident.incident_id} is marked as {args.mark}.")
    return 0
