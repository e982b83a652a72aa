"""`aftermath silence add / list / expire`: alerts that nobody wants for a time, where there are routes."""

import argparse
import getpass
import json
import secrets
from dataclasses import asdict, replace

from alerts.durations import parse_duration
from alerts.routing.matchers import parse_matcher
from pipeline.clock import now_micros
from pipeline.commands.connection import kafka_to_use
from pipeline.saying import say, silences
from pipeline.settings import load_settings
from reports.incident import plain
from schemas.errors import UsageError
from schemas.oncall import Silencing
from schemas.times import format_time

LONGEST_DAYS = 90


def run(args: argparse.Namespace) -> int:
    """Say it, or show what was said."""
    now = now_micros()
    if args.action == "add":
        return _add(args, now)
    found = silences(kafka_to_use())
    if args.action == "expire":
        return _expire(args.silence_id, found, now)
    shown = [silence for silence in found if args.expired or silence.ends_at > now]
    if args.json:
        print(json.dumps([_document(silence, now) for silence in shown], ensure_ascii=False))
    for silence in [] if args.json else shown:
        document = _document(silence, now)
        print(f"{silence.silence_id}  {document['state']:<8} until {document['ends_at']}  {silence.tenant}")
        print(f"          {plain(', '.join(silence.matcher_texts))}")
        print(f"          {plain(silence.created_by)}: {plain(silence.comment)}")
    if not shown and not args.json:
        print("No silences.")
    return 0


def _add(args: argparse.Namespace, now: int) -> int:
    try:
        matchers = [str(parse_matcher(text)) for text in args.matchers]
        length = parse_duration(args.length)
    except ValueError as error:
        raise UsageError(f"The silence is not made: {error}.") from None
    if not 0 < length <= LONGEST_DAYS * 86_400_000_000:
        raise UsageError(f"A silence lasts longer than nothing and at most {LONGEST_DAYS} days, not {args.length}.")
    if not args.comment.strip():
        raise UsageError("Say why in --comment: others will ask.")
    tenant, by = args.tenant or load_settings().tenant, args.by or getpass.getuser()
    silence = Silencing(secrets.token_hex(4), tenant, json.dumps(matchers), now, now + length, by, args.comment)
    say(kafka_to_use(), silence)
    print(silence.silence_id)
    return 0


def _expire(prefix: str, found: list[Silencing], now: int) -> int:
    named = [silence for silence in found if silence.silence_id.startswith(prefix)]
    if len(named) != 1:
        count = "no silence" if not named else f"{len(named)} silences"
        raise UsageError(f"There is {count} whose id begins with {prefix[:40]!r}: see `aftermath silence list`.")
    if named[0].ends_at <= now:
        raise UsageError(f"{named[0].silence_id} was over at {format_time(named[0].ends_at)} already.")
    say(kafka_to_use(), replace(named[0], ends_at=now))
    print(f"{named[0].silence_id} is over; what still fires is told with the next look at its group.")
    return 0


def _document(silence: Silencing, now: int) -> dict[str, object]:
    state = "over" if silence.ends_at <= now else "pending" if silence.starts_at > now else "active"
    times = {name: format_time(getattr(silence, name)) for name in ("starts_at", "ends_at")}
    return {**asdict(silence), "matchers": silence.matcher_texts, **times, "state": state}
