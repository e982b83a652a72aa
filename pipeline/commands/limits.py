"""`aftermath limits`: publish the limits file to the workers, show the versions that are published."""

import argparse
import getpass
import json

from pipeline.clock import now_micros
from pipeline.limits import load_limits
from pipeline.publishing_limits import publish_limits, published
from pipeline.settings import load_settings
from schemas.errors import UsageError
from schemas.times import format_time


def run(args: argparse.Namespace) -> int:
    """`publish` checks the file and writes what is new in it; `show` prints what the workers go by."""
    settings = load_settings()
    if args.action == "show":
        known = published(settings)
        found = [] if known is None else [known, *known.earlier]
        if args.json:
            print(json.dumps([limits.model_dump(mode="json", exclude={"before"}) for limits in found]))
        for limits in found if not args.json else ():
            print(f"version {limits.version} {_since(limits.effective_from)}: {len(limits.limits)} entries")
        if not found and not args.json:
            print("Nothing is published: nothing is limited, or the workers go by their own limits file.")
        return 0
    path = args.file or settings.limits_file
    if path is None:
        raise UsageError("Name the limits file, or set AFTERMATH_LIMITS_FILE.")
    records = publish_limits(settings, load_limits(path), now=now_micros(), author=f"user:{getpass.getuser()}")
    for record in records:
        print(f"version {record.version} is published, in force {_since(record.effective_from)}")
    if not records:
        print("Published already, all of it.")
    return 0


def _since(moment: int | None) -> str:
    return "always" if moment is None else f"from {format_time(moment)}"
