"""`aftermath roundup --week 2026-W47`: one document on stdout; `--format` md, html or json."""

import argparse
import sys
from datetime import timedelta

from pipeline.clock import now_micros
from pipeline.commands.connection import reading_client
from reports.roundup.build import build
from reports.roundup.formats import FORMATS
from schemas.times import to_datetime


def run(args: argparse.Namespace) -> int:
    """Write it."""
    week = args.week or f"{to_datetime(now_micros()) - timedelta(weeks=1):%G-W%V}"
    with reading_client() as client:
        document = build(client, week)
    sys.stdout.write(FORMATS[args.format](document))
    return 0
