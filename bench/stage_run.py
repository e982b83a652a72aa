"""One stage of Aftermath over everything in its topics, in a process of its own on one core, with its time split.

    python -m bench.stage_run --stage detect --kafka 127.0.0.1:9092 --expect 200000 --core 1

The stage is the product's, settings and all; timers are put round its parts from outside (bench/split.py). What the
threads of aiokafka and librdkafka use is read from their CPU clocks. The parts add up to the CPU of the process.
"""

import argparse
import asyncio
import os
import threading
import uuid
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is imported

import polars as pl

from bench.measuring import Result, Stopwatch, arguments_of
from bench.split import DECODE, POOL, Split, cpu_by_thread
from pipeline.app import Pipeline
from pipeline.clock import monotonic
from pipeline.frontier import Element
from pipeline.offsets import Offsets
from pipeline.settings import Settings
from pipeline.stages import archive, detect, publish
from schemas.topics import BY_NAME
from sinks.clickhouse.client import connect_writer

STALL_SECONDS = 60.0
LEAST_MICROS = 0.02  # an event: threads below this are not named
FETCH, UNTIMED = "fetch (aiokafka's thread)", "between the timers"
SINK, RAW = "sink", "rows and redaction"


class NullWriter:
    """Counts rows and forgets them."""

    def __init__(self) -> None:
        self.rows = 0

    def write(self, _table: str, frame: pl.DataFrame, _token: str) -> list[Any]:
        self.rows += frame.height
        return []


def instrument(split: Split) -> None:
    """Timers round what the two stages do with an element, before any of it runs."""
    split.wrap("records to lists", Element, "batch")
    for module in (detect, archive):
        split.wrap(DECODE, module, "decode_batch")
    split.wrap("encode rows", detect.Detect, "_read")
    split.wrap("produce", publish.Publisher, "_queue")
    split.wrap(RAW, archive, "raw_frame")
    split.wrap("archive, rest", archive.Archive, "rows")
    split.wrap_operator()


async def run(args: argparse.Namespace) -> None:
    """Until everything is read and its effects confirmed."""
    split = Split()
    instrument(split)
    settings = Settings(
        kafka=args.kafka,
        group_prefix=args.group,
        recorded=True,
        commit_interval_seconds=args.commit_seconds,
        **({"clickhouse_url": args.clickhouse, "clickhouse_password": args.password} if args.clickhouse else {}),
        **({"clickhouse_user": args.user} if args.user else {}),
    )
    sink: Any = connect_writer(settings, attempts=1) if args.clickhouse else NullWriter()
    split.wrap(SINK, type(sink), "write")
    pipeline = Pipeline(settings, (args.stage,), writer=lambda: sink)
    stage: Any = pipeline.stages[args.stage]
    watch, result = Stopwatch(), Result(f"Aftermath {args.stage}")
    began: dict[str, float] = {}
    take = stage.take

    async def first_take(element: Element) -> Any:
        if not watch.runs:
            for thread in threading.enumerate():
                if type(thread).__module__.startswith("mode"):  # Faust runs aiokafka in one, and does not name it
                    thread.name = FETCH
            watch.start()
            began.update(cpu_by_thread())
            split.reset()
        return await take(element)

    stage.take = first_take
    await pipeline.start()
    try:
        await pipeline.ready()
        print("ready", flush=True)
        await _until_read(pipeline, args.stage, args.expect)
        watch.stop(result)
        ended = cpu_by_thread()
        result.events = stage.progress.messages
    finally:
        await pipeline.stop()
    result.parts = parts(split, began, ended, result)
    result.notes = [f"{stage.progress.elements:,} elements"]
    result.notes += [f"not there to be timed: {name}" for name in split.missing]
    if args.stage == "archive":
        result.notes.append(f"sink: {'embedded ClickHouse' if args.clickhouse else 'null, rows are counted'}")
        result.windows = sink.rows if isinstance(sink, NullWriter) else stage.rows_written["agent_traces"]
    result.print()


async def _until_read(pipeline: Pipeline, name: str, expect: int) -> None:
    stage, seen, since = pipeline.stages[name], -1, monotonic()
    while stage.progress.messages < expect:
        pipeline.check()
        if stage.progress.messages != seen:
            seen, since = stage.progress.messages, monotonic()
        if monotonic() - since > STALL_SECONDS:
            raise RuntimeError(f"{name} has read {seen:,} of {expect:,} messages and stands still")
        await asyncio.sleep(0.05)
    offsets = Offsets(pipeline.settings.kafka_connection)
    ends = await asyncio.to_thread(offsets.ends, [BY_NAME[topic] for topic in stage.topics])
    while not stage.is_caught_up(ends):
        pipeline.check()
        await asyncio.sleep(0.01)
    offsets.close()


def parts(split: Split, began: Mapping[str, float], ended: Mapping[str, float], result: Result) -> dict[str, float]:
    """Microseconds an event. A thread that the timers cover is left out; the rest of the process is the last line."""
    found = split.micros_an_event(result.events)
    groups = {UNTIMED: 0.0, "event loop and Faust": 0.0, "deliver (librdkafka)": 0.0}
    for name, seconds in ended.items():
        used = (seconds - began.get(name, 0.0)) * 1e6 / result.events
        if name == "MainThread":
            groups["event loop and Faust"] += used
        elif name.startswith("rdk:") or name.endswith("delivery reports"):
            groups["deliver (librdkafka)"] += used
        elif POOL.fullmatch(name) or name.startswith("asyncio_"):
            groups[UNTIMED] += used
        elif used > LEAST_MICROS:
            groups[name if name == FETCH else f"thread {name}"] = used
    groups[UNTIMED] -= sum(found.values())
    found |= groups
    found["rest of the process"] = result.cpu * 1e6 / result.events - sum(found.values())
    return found


def main() -> None:
    """One process, one core."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=("detect", "archive"), required=True)
    parser.add_argument("--group", default=f"bench-{uuid.uuid4().hex[:8]}")
    parser.add_argument("--commit-seconds", type=float, default=1.0)
    parser.add_argument("--clickhouse", default="", help="address; without it rows are counted and forgotten")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    asyncio.run(run(arguments_of(parser)))


if __name__ == "__main__":
    main()
