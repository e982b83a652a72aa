"""The same two questions written the usual way: a confluent-kafka loop, fastavro, dictionaries.

60-second token sums a session, and an alert at five consecutive equal tool calls of a session. Nothing survives a
restart, nothing is checked, late rows count. One process, one core.
"""

import argparse
import io
from collections import defaultdict
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer

from bench.measuring import Result, Stopwatch, arguments_of
from schemas import registry
from schemas.times import MINUTE

ALERTS = "bench.alerts"
AT_ONCE = 1_000
CALLS = ("execute_tool", "retrieval")


class Loops:
    """How often a session made the same call without another in between."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[Any, int]] = {}
        self.found: set[str] = set()

    def see(self, span: dict[str, Any]) -> bool:
        """True at the fifth equal call."""
        session = span["session_id"]
        call = (span["tool_name"], span["args_digest"], span["result_digest"])
        before, number = self._runs.get(session, (None, 0))
        number = number + 1 if call == before else 1
        self._runs[session] = (call, number)
        if number == 5:
            self.found.add(session)
        return number == 5


def main() -> None:
    """Read everything, then say how it went."""
    args = arguments_of(argparse.ArgumentParser(description=__doc__))
    schema = registry.newest("agent_span")
    consumer = Consumer(
        {
            "bootstrap.servers": args.kafka,
            "group.id": "bench.confluent",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": True,
            "auto.commit.interval.ms": 200,
            "fetch.queue.backoff.ms": 10,
            "queued.max.messages.kbytes": 65_536,
        }
    )
    producer = Producer({"bootstrap.servers": args.kafka})
    consumer.subscribe([args.topic])
    result, watch, loops = Result("confluent-kafka loop, fastavro, dicts"), Stopwatch(), Loops()
    sums: dict[tuple[str, int], int] = defaultdict(int)
    while result.events < args.expect:
        for message in consumer.consume(AT_ONCE, 0.2):
            watch.start()
            if message.error() is not None:
                raise RuntimeError(f"Kafka: {message.error()}")
            result.events += 1
            value = message.value()
            if not value.startswith(schema.header):
                continue  # a tick
            body = io.BytesIO(value)
            body.seek(len(schema.header))
            span: Any = fastavro.schemaless_reader(body, schema.parsed, None)
            if span["operation"] == "chat":
                minute = span["event_time"] // MINUTE
                sums[span["session_id"], minute] += span["input_tokens"] + span["output_tokens"]
            elif span["operation"] in CALLS and loops.see(span):
                producer.produce(ALERTS, span["session_id"].encode(), message.key())
                producer.poll(0)
    left = producer.flush(20)
    watch.stop(result)
    if left:
        raise RuntimeError(f"{left} alerts were not delivered")
    consumer.close()
    result.loops, result.windows, result.tokens = sorted(loops.found), len(sums), sum(sums.values())
    result.print()


if __name__ == "__main__":
    main()
