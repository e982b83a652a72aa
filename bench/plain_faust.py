"""The same two questions written as Faust's documentation does it: an agent, a record a message, tables.

60-second token sums a session in a tumbling table, by the time of the event, and an alert at five consecutive equal
tool calls. The tables have their changelogs on Kafka, as tables do; no `expires`, which would go by the wall clock.
"""

import argparse
import asyncio
import io
import logging
import os
import sys
import time
from typing import Any

import fastavro
import faust
from faust.serializers import codecs

from bench.measuring import Result, Stopwatch, arguments_of
from bench.plain_confluent import ALERTS, CALLS
from schemas import registry
from schemas.topics import TRACES

APP = "bench.faust"
CHANGELOGS = (f"{APP}-tokens-changelog", f"{APP}-runs-changelog")
MINUTE_SECONDS = 60.0
STALL_SECONDS = 20.0  # now and then it stops reading for good, with messages left and no error: that is a finding too


class Span(faust.Record):  # type: ignore[misc]  # Faust is dynamic
    """What the two questions need of a span."""

    at: float
    session_id: str
    operation: str
    tokens: int
    call: str


class AvroSpan(codecs.Codec):  # type: ignore[misc]  # Faust is dynamic
    """A span from its Avro message; a tick is a span of no session."""

    def _loads(self, value: bytes) -> Any:
        schema = registry.newest("agent_span")
        if not value.startswith(schema.header):
            return {"at": 0.0, "session_id": "", "operation": "tick", "tokens": 0, "call": ""}
        body = io.BytesIO(value)
        body.seek(len(schema.header))
        span: Any = fastavro.schemaless_reader(body, schema.parsed, None)
        return {
            "at": span["event_time"] / 1e6,
            "session_id": span["session_id"],
            "operation": span["operation"],
            "tokens": span["input_tokens"] + span["output_tokens"],
            "call": f"{span['tool_name']} {span['args_digest']} {span['result_digest']}",
        }


def build(kafka: str, topic_name: str, result: Result, watch: Stopwatch, loops: set[str]) -> tuple[Any, Any]:
    """The app and its table of sums."""
    codecs.register("avro_span", AvroSpan())
    app = faust.App(
        APP,
        broker=f"kafka://{kafka}",
        store="memory://",
        topic_partitions=TRACES.partitions,
        topic_replication_factor=1,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        worker_redirect_stdouts=False,
    )
    topic = app.topic(topic_name, key_type=bytes, value_type=Span, value_serializer="avro_span")
    alerts = app.topic(ALERTS, key_serializer="raw", value_serializer="raw")
    tokens = app.Table("tokens", default=int, partitions=TRACES.partitions).tumbling(MINUTE_SECONDS)
    tokens = tokens.relative_to_field(Span.at)
    runs = app.Table("runs", default=list, partitions=TRACES.partitions)

    async def detect(stream: Any) -> None:
        async for span in stream:
            watch.start()
            result.events += 1
            if span.operation == "chat":
                tokens[span.session_id] += span.tokens
            elif span.operation in CALLS:
                before = runs[span.session_id]
                number = before[1] + 1 if before and before[0] == span.call else 1
                runs[span.session_id] = [span.call, number]
                if number == 5:
                    loops.add(span.session_id)
                    await alerts.send(value=span.session_id.encode())

    app.agent(topic, name="detect")(detect)
    return app, tokens


async def run(args: argparse.Namespace) -> None:
    """Read everything, then say how it went."""
    result, watch, loops = Result("Faust agent, tumbling table"), Stopwatch(), set[str]()
    app, tokens = build(args.kafka, args.topic, result, watch, loops)
    starting = asyncio.create_task(app.start())
    seen, since = 0, time.monotonic()
    while result.events < args.expect:
        if starting.done():
            starting.result()
        await asyncio.sleep(0.05)
        if result.events != seen:
            seen, since = result.events, time.monotonic()
        if seen and time.monotonic() - since > STALL_SECONDS:
            result.notes.append(f"stood still after {seen:,} of {args.expect:,}")
            break
    watch.stop(result, idle=time.monotonic() - since)
    sums = list(tokens.table.data.values())
    result.loops, result.windows, result.tokens = sorted(loops), len(sums), sum(sums)
    result.print()
    sys.stdout.flush()
    os._exit(0)  # Faust's own stop takes long, sometimes for ever, and is not what is measured


def main() -> None:
    """One process, one core."""
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(run(arguments_of(argparse.ArgumentParser(description=__doc__))))


if __name__ == "__main__":
    main()
