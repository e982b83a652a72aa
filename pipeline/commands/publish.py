"""`aftermath publish FILE...`: JSON lines to Kafka, as live events (times shifted to now) or as a recording.

Where a demo runs in this directory its broker is used, so that one can send events of one's own into it.
"""

import argparse
import sys
from collections import Counter

from pipeline.clock import now_micros
from pipeline.commands.connection import kafka_to_use
from pipeline.files import BadLine, merged
from pipeline.player import Player, publish_live, readers
from pipeline.settings import load_settings
from schemas.errors import UsageError
from schemas.times import format_time

MOST_BAD_SHOWN = 10


def run(args: argparse.Namespace) -> int:
    """Publish all events of the files in the order of their stamps; bad lines are named, counted and left out."""
    if args.speed is not None and not args.recorded:
        raise UsageError("--speed goes with --recorded: live events happen at the speed they had.")
    settings, connection = load_settings(), kafka_to_use()
    bad: list[BadLine] = []
    with merged(args.files, bad.append) as recording:
        for line in bad[:MOST_BAD_SHOWN]:
            print(line, file=sys.stderr)
        if bad:
            reasons = ", ".join(f"{number} {reason}" for reason, number in Counter(b.reason for b in bad).most_common())
            print(f"{len(bad)} bad lines left out: {reasons}", file=sys.stderr)
        if args.recorded:
            player = Player(
                connection,
                pane=settings.pane,
                lateness=settings.lateness,
                readers=readers(settings.group),
                speed=args.speed,
            )
            played = player.play(recording.messages())
        else:
            played = publish_live(recording.events(), connection=connection, now=now_micros)
    by_topic = ", ".join(f"{number:,} to {topic}" for topic, number in sorted(played.by_topic.items()))
    if played.began_at is None or played.ended_at is None:
        raise UsageError("There is no event in these files; write one a line, as in the README.")
    span = f"{format_time(played.began_at)} to {format_time(played.ended_at)}"
    print(f"{played.messages:,} events published ({by_topic}), {span}")
    return 0
