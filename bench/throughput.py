"""How fast, and where the time goes.

    python -m bench.throughput [--broker real|embedded] [--events N] [--sink null|embedded]
    python -m bench.throughput --operator [--events N] [--sessions 10000,100000,1000000]

The first measures the detect stage with all detectors on, then archive, each alone in one process on one core with the
broker on another, and in the same run the same questions asked the usual way: a confluent-kafka loop, a plain Faust
agent. What each found is held against what was planted. The second leaves Kafka out: decode and detect alone.
"""

import argparse
import os
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is imported: figures are for one core

from bench import operator_cost
from bench.beds import SMALL, EmbeddedBed, RealBed, bed
from bench.measuring import Result
from bench.spans import Load, Truth
from pipeline.embedded import embedded_database
from schemas.topics import INPUTS, TRACES

PACKAGES = ("faust-streaming", "aiokafka", "confluent-kafka", "polars", "fastavro")
SAYS_SLOPE_SECONDS = 15.0
USUAL = "confluent-kafka loop"  # what ratios are to


def main() -> None:
    """Print one table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--operator", action="store_true", help="without Kafka: decode and detect alone")
    arguments.add_argument("--broker", choices=("real", "embedded"), default="real")
    arguments.add_argument("--events", type=int, default=200_000)
    arguments.add_argument("--faust-events", type=int, default=50_000, help="load of the plain Faust agent; 0: without")
    arguments.add_argument("--sink", choices=("null", "embedded"), default="null", help="where archive writes")
    arguments.add_argument("--concurrent", type=int, default=2_000, help="sessions at a time")
    arguments.add_argument("--sessions", default="", help="with --operator: cost at these numbers of sessions")
    arguments.add_argument("--rounds", type=int, default=1, help="with --sessions: spans of each before it is measured")
    arguments.add_argument("--seed", type=int, default=7)
    args = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the broker is ended too
    cores = sorted(os.sched_getaffinity(0))
    broker, worker = cores[0], cores[-1]
    load = Load(args.events, args.concurrent, args.seed)
    print(machine())
    if args.operator:
        os.sched_setaffinity(0, {worker})
        if args.sessions:
            numbers = [int(text) for text in args.sessions.split(",")]
            operator_cost.growth(numbers, args.events, args.rounds, args.seed)
        else:
            operator_cost.report(operator_cost.measure(load))
        return
    os.sched_setaffinity(0, {broker})
    small = Load(min(args.events, max(1, args.faust_events)), args.concurrent, args.seed)
    with bed(args.broker, (broker, worker), load, small) as made:
        says = (
            f"{load.events:,} spans, {load.concurrent:,} sessions at a time, {load.seconds / 60:.1f} min of event time"
        )
        print(f"{made.says} on core {broker}, one worker on core {worker}; {says}")
        if broker == worker:
            print("one core for both: figures are lower than on two")
        results = []
        for result in measured(made, args.sink, with_faust=args.faust_events > 0):
            print(f"  {result.engine}: {result.wall:.1f} s", file=sys.stderr, flush=True)
            results.append(result)
    table(results)
    for result in results:
        split(result)


def measured(made: RealBed | EmbeddedBed, sink: str, *, with_faust: bool) -> Iterator[Result]:
    """Every engine in its turn."""
    group = "bench-detect"
    detect = made.run("bench.stage_run", INPUTS, f"{group}.detect", ("--stage", "detect", "--group", group))
    if isinstance(made, RealBed):
        detect.loops = sorted(made.looping())
        detect.notes.append(loops_are_right(detect, made.truth(INPUTS)))
    yield detect
    with _sink(sink) as words:
        group = "bench-archive"
        words += ["--stage", "archive", "--group", group]
        archive = made.run("bench.stage_run", INPUTS, f"{group}.archive", words)
    is_whole = archive.windows == made.truth(INPUTS).spans
    archive.notes.append("right" if is_whole else f"WRONG: {archive.windows:,} rows")
    yield archive
    plain = made.run("bench.plain_confluent", (TRACES,), "bench.confluent")
    plain.notes.append(all_is_right(plain, made.truth((TRACES,))))
    yield plain
    if with_faust and isinstance(made, RealBed):  # its tables need topics that the embedded broker does not keep
        faust = made.run("bench.plain_faust", (SMALL,), "bench.faust")
        faust.notes.append(all_is_right(faust, made.truth((SMALL,))))
        yield faust


@contextmanager
def _sink(kind: str) -> Iterator[list[str]]:
    """How archive is told where to write. The embedded ClickHouse runs here, on the broker's core."""
    if kind == "null":
        yield []
        return
    from sinks.clickhouse import migrations
    from sinks.clickhouse.client import connect

    with embedded_database() as database:
        client = connect(database.url, database.user, database.password)
        migrations.migrate(client)
        client.close()
        yield ["--clickhouse", database.url, "--user", database.user, "--password", database.password]


def loops_are_right(result: Result, truth: Truth) -> str:
    """Right, or what is not."""
    if set(result.loops) == truth.loops.keys():
        return f"right ({len(result.loops)} loops)"
    return f"WRONG: loops {len(result.loops)}, planted {len(truth.loops)}"


def all_is_right(result: Result, truth: Truth) -> str:
    """The same for loops and sums."""
    tokens = sum(truth.tokens.values())
    if (result.windows, result.tokens) != (len(truth.tokens), tokens):
        return f"WRONG: {result.windows:,} sums of {result.tokens:,}, not {len(truth.tokens):,} of {tokens:,}"
    return loops_are_right(result, truth)


def table(results: list[Result]) -> None:
    """A line an engine."""
    usual = next((result for result in results if result.engine.startswith(USUAL)), None)
    print(
        f"\n{'engine':<38}{'events/s':>10}{'CPU s/M':>9}{'ratio':>7}{'CPU':>7}{'peak MB':>9}{'MB/min':>8}  what it found"
    )
    for result in results:
        rate, cpu = result.events / result.wall, result.cpu * 1e6 / result.events
        ratios = [1.0, 1.0]
        if usual is not None:
            ratios = [rate * usual.wall / usual.events, usual.cpu * 1e6 / usual.events / cpu]
        print(
            f"{result.engine:<38}{rate:>10,.0f}{cpu:>9.2f}{ratios[0]:>7.2f}{ratios[1]:>7.2f}"
            f"{result.peak_mb:>9.0f}{growth(result):>8}  {'; '.join(result.notes)}"
        )
    print(
        f"ratio: to the {USUAL} beside it, by the wall clock and by CPU. MB/min: slope after the first third of a run"
    )


def growth(result: Result) -> str:
    """Memory a minute; a short run cannot say."""
    return f"{result.slope_mb_a_minute:.1f}" if result.wall >= SAYS_SLOPE_SECONDS else "-"


def split(result: Result) -> None:
    """Where its CPU went."""
    if not result.parts:
        return
    print(f"\n{result.engine}: CPU microseconds an event, {sum(result.parts.values()):.2f} in all")
    for part, micros in sorted(result.parts.items(), key=lambda item: -item[1]):
        if micros >= 0.005:
            print(f"  {micros:>8.2f}  {part}")


def machine() -> str:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{model}, {os.cpu_count()} cores, {platform.system()}; Python {sys.version.split()[0]}, {packages}"


if __name__ == "__main__":
    main()
