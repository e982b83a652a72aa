"""`aftermath dead-letters list / replay`: what could not be read, and once more to where it came from.

Replayed at most once: the audit row is written before the message is sent, and a letter that has one is left alone. So
a message whose sending failed is told, and stays unsent until somebody says `--again`.
"""

import argparse
import asyncio
import getpass
import json
from collections import Counter
from dataclasses import asdict

from pipeline.clock import now_micros
from pipeline.commands.connection import kafka_to_use, writing_client
from pipeline.kafka_connection import KafkaConnection
from pipeline.sending import Said, send
from pipeline.stages.read_back import read_whole_topic
from schemas.codecs.single import decode
from schemas.errors import DependencyError, UsageError
from schemas.topics import DEAD_LETTERS
from sinks.clickhouse.letters import replayed, write_replays
from sinks.dead_letters import Letter, letter_of, obstacle, preview_row

FLUSH_SECONDS = 30.0
REPLAYED_FROM = "aftermath-replayed-from"  # a header: topic/partition/offset of the message that was refused


def run(args: argparse.Namespace) -> int:
    """List, or replay. Exit code 1 where a replay sent nothing."""
    kafka = kafka_to_use()
    found = asyncio.run(_letters(kafka, args.topic, args.reason))
    return _list(found, as_json=args.json) if args.action == "list" else _replay(kafka, found, args)


async def _letters(kafka: KafkaConnection, topic: str | None, reason: str | None) -> list[Letter]:
    """In the order in which they were refused; a message that two stages refused is one letter."""
    found: dict[tuple[str, int, int], Letter] = {}
    async for value in read_whole_topic(kafka, DEAD_LETTERS):
        letter = letter_of(decode(value)[1])
        if topic in (None, letter.topic) and reason in (None, letter.reason):
            found.setdefault(letter.place, letter)
    return list(found.values())


def _list(found: list[Letter], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps([preview_row(asdict(letter)) for letter in found], ensure_ascii=False, default=str))
        return 0
    if not found:
        print("No dead letters stand in Kafka; those of the last 30 days are in the table dead_letters.")
    for (topic, reason), number in Counter((letter.topic, letter.reason) for letter in found).most_common():
        first = next(letter for letter in found if (letter.topic, letter.reason) == (topic, reason))
        row = preview_row(asdict(first))
        print(f"{number:,} of {topic}: {reason}, first {'/'.join(map(str, first.place))}: {row['detail']}")
    return 0


def _replay(kafka: KafkaConnection, found: list[Letter], args: argparse.Namespace) -> int:
    if not args.why:
        raise UsageError("Say why (--why): it stands in the audit table dead_letter_replays.")
    by = f"user:{args.by or getpass.getuser()}"
    left: Counter[str] = Counter()
    chosen: list[Letter] = []
    with writing_client() as client:
        known = set() if args.again else replayed(client, [letter.place for letter in found])
        for letter in found:
            reason = "was replayed before (--again sends it once more)" if letter.place in known else obstacle(letter)
            if reason is not None:
                left[reason] += 1
            elif len(chosen) < args.most:
                chosen.append(letter)
            else:
                left[f"is beyond --most {args.most}"] += 1
        write_replays(client, chosen, by=by, why=args.why, at=now_micros())
    _send(kafka, chosen)
    by_topic = Counter(letter.topic for letter in chosen)
    if args.json:
        print(json.dumps({"replayed": by_topic, "left": left}))
    else:
        print("; ".join(f"{number:,} to {topic}" for topic, number in by_topic.items()) or "Nothing was replayed.")
        for reason, number in left.most_common():
            print(f"{number:,} left alone: {reason}")
    return 0 if chosen else 1


def _send(kafka: KafkaConnection, letters: list[Letter]) -> None:
    """Raises DependencyError where the broker did not take one."""
    messages = [
        Said(letter.topic, letter.value, letter.key, ((REPLAYED_FROM, "/".join(map(str, letter.place)).encode()),))
        for letter in letters
    ]
    if failed := send(kafka, messages, FLUSH_SECONDS):
        raise DependencyError(
            f"Kafka did not take all of the {len(letters)} ({failed}); all of them have their audit row: when Kafka is"
            " well, replay once more with --again."
        )
