"""`aftermath tail`: the timeline as it happens, read from signals.v1 and incidents.v1.

Where a demo runs in this directory its broker is read.
"""

import argparse
import re

from pipeline.clock import now_micros
from pipeline.commands.connection import kafka_to_use
from pipeline.following import START, Follower, shown
from reports.tail import Shown, Tail, Wanted
from schemas.errors import UsageError
from schemas.times import MICROS, parse_time
from schemas.topics import INCIDENTS, SIGNALS

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def run(args: argparse.Namespace) -> int:
    """Print until Ctrl-C, or with --once until the log ends."""
    tail = Tail(Wanted(args.scope.rstrip("/") if args.scope else None, args.agent))
    follower = Follower(kafka_to_use(), (SIGNALS, INCIDENTS), since(args.since, now_micros()))
    rows: list[Shown] = []
    try:
        for messages in follower:
            rows += [row for topic, value in messages if (row := shown(topic, value)) is not None]
            if not follower.is_at_end:
                continue  # what is there already comes partition by partition: it is put in order first
            for line in tail.lines(rows):
                print(line, flush=True)
            rows.clear()
            if args.once:
                return 0
    finally:
        follower.close()
    return 0


def since(text: str | None, now: int) -> int | None:
    """Milliseconds from which on to read; None: from now on. Raises UsageError."""
    if text is None:
        return None
    if text == "start":
        return START
    if span := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return (now - int(span[1]) * UNITS[span[2]] * MICROS) // 1000
    try:
        return parse_time(text) // 1000
    except ValueError as error:
        raise UsageError(f"--since: {error}, or 10m, 2h, 1d, start") from None
