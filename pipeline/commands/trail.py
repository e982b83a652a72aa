"""`aftermath trail RESOURCE|ACTION`."""

import argparse
import json

from pipeline.commands.connection import reading_client
from pipeline.commands.terminal import terminal
from reports.incident import plain
from reports.trail import links_of, render
from sinks.clickhouse import trail as stored


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    with reading_client() as client:
        changes = stored.changes(client, args.what)
        newest, older = changes[0], changes[1:]
        rows = stored.trail(client, newest["tenant"], newest["span_id"])
        is_told = any(row["link"] == "effect" for row in rows) or stored.is_told_of(
            client, newest["tenant"], newest["span_id"]
        )
    if args.json:
        print(
            json.dumps(
                {"change": newest, "links": rows, "older": older, "effect_can_be_told": is_told},
                ensure_ascii=False,
                default=str,
            )
        )
        return 0
    print(render(newest["span_id"], links_of(rows), min(120, terminal().width), is_told=is_told))
    if older:
        print(f"\n  Earlier changes of it ({len(older)}{' or more' if len(changes) == stored.MOST_CHANGES else ''}):")
        for change in older:
            tool = plain(f"{change['agent_id']} {change['tool_name']}")
            print(f"  {change['event_time']:%Y-%m-%d %H:%M:%S}  {tool}  {change['span_id']}")
    return 0
