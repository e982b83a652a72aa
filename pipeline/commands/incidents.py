"""`aftermath incidents list / show / timeline`."""

import argparse
import json
import sys

from rich.console import Console

from pipeline.commands.connection import reading_client
from reports.incident import plain, render
from reports.table import incident_table
from sinks.clickhouse import incidents as stored


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    with reading_client() as client:
        if args.action == "list":
            found = stored.newest(client, args.limit, only_open=args.open)
            if args.json:
                print(json.dumps([incident.model_dump(mode="json") for incident in found], ensure_ascii=False))
            elif found:
                Console(soft_wrap=False).print(incident_table(found))
            else:
                print("No open incidents." if args.open else "No incidents.")
            return 0
        incident = stored.by_id(client, args.incident_id)
        if args.action == "show":
            width = min(120, Console().width) if sys.stdout.isatty() else 100
            print(incident.model_dump_json() if args.json else render(incident, width))
            return 0
        rows = stored.timeline(client, incident.incident_id)
        if args.json:
            print(json.dumps(rows, ensure_ascii=False, default=str))
        else:
            for row in rows:
                print(f"{row['event_time']:%Y-%m-%d %H:%M:%S}  {row['type']:<10} {plain(row['shows'])}")
        return 0
