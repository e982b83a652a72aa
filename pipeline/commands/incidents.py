"""`aftermath incidents list / show / timeline`."""

import argparse
import json

from pipeline.commands.connection import reading_client
from pipeline.commands.terminal import terminal
from reports.incident import plain, render
from reports.table import incident_list
from sinks.clickhouse import incidents as stored


def run(args: argparse.Namespace) -> int:
    """Read and print."""
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
        if args.action == "show":
            print(incident.model_dump_json() if args.json else render(incident, min(110, screen.width)))
            return 0
        rows = stored.timeline(client, incident.incident_id)
        if args.json:
            print(json.dumps(rows, ensure_ascii=False, default=str))
        else:
            for row in rows:
                print(f"{row['event_time']:%Y-%m-%d %H:%M:%S}  {row['type']:<10} {plain(row['shows'])}")
        return 0
