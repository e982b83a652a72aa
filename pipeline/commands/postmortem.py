"""`aftermath postmortem ID` and `aftermath postmortem verify FILE`."""

import argparse
import sys
from pathlib import Path

from pipeline.commands.connection import reading_client
from pipeline.commands.lint import print_findings, read_text
from reports.postmortem.build import build
from reports.postmortem.formats import FORMATS
from reports.postmortem.verify import verify
from schemas.errors import UsageError
from sinks.clickhouse import incidents as stored

WORD = "verify"


def run(args: argparse.Namespace) -> int:
    """Write the document on stdout, or say what is wrong with one."""
    if args.words[0] == WORD:
        if len(args.words) != 2:
            raise UsageError("verify takes one file: `aftermath postmortem verify FILE`.")
        path = Path(args.words[1])
        with reading_client() as client:
            return print_findings(path, verify(client, read_text(path)))
    if len(args.words) != 1:
        raise UsageError("One incident at a time: `aftermath postmortem ID`, or `aftermath postmortem verify FILE`.")
    with reading_client() as client:
        incident = stored.by_id(client, args.words[0])
        document = build(client, incident.incident_id, incident.revision)
    sys.stdout.write(FORMATS[args.format].render(document))
    return 0
