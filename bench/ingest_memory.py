"""Memory of the stage `ingest` in a long run, where the search for cycles is as rare as `aftermath run` makes it.

    python -m bench.ingest_memory --seconds 90            # and --usual: with Python's own thresholds

The product's stage, in a process of its own, on the embedded broker of this one, which is fed as fast as it confirms:
spans as in bench/ingest_speed.py, every id and argument in them new, so that whatever is kept shows. Resident memory a
second: least squares over what comes after the first third. At the end one search for cycles: what it finds is what the
rare search had left lying.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
from random import Random

from confluent_kafka import Producer

from bench.ingest_speed import SPANS, batch
from bench.measuring import slope
from bench.split import resident_mb
from pipeline.app import Pipeline, look_for_cycles_rarely
from pipeline.embedded.broker import MockKafka
from pipeline.kafka_connection import KafkaConnection
from pipeline.offsets import Offsets
from pipeline.settings import Settings
from schemas.topics import OTLP_SPANS

AHEAD = 10  # messages of a partition that are not confirmed: the broker keeps 5 MB of one
LOOK_SECONDS = 1.0


def group_of(kafka: str) -> str:
    """Another for each broker: a worker keeps a journal of its group on disk."""
    return f"bench-memory-{kafka.rpartition(':')[2]}"


def worker(kafka: str, seconds: float, is_rare: bool) -> None:
    """The stage for so long; a line of JSON a second."""
    if is_rare:
        look_for_cycles_rarely()
    settings = Settings(kafka=kafka, group_prefix=group_of(kafka), commit_interval_seconds=0.2)

    async def run() -> None:
        pipeline = Pipeline(settings, ("ingest",), writer=lambda: None)  # type: ignore[arg-type, return-value]
        await pipeline.start()
        await pipeline.ready()
        began = time.monotonic()
        while (past := time.monotonic() - began) < seconds:
            await asyncio.sleep(LOOK_SECONDS)
            said = {"seconds": past, "messages": pipeline.stages["ingest"].progress.messages, "mb": resident_mb()}
            print(json.dumps(said | {"searches": [one["collections"] for one in gc.get_stats()]}), flush=True)
        before = resident_mb()
        print(json.dumps({"unreachable": gc.collect(), "mb": resident_mb() - before}), flush=True)
        await pipeline.stop()

    asyncio.run(run())


def feed(kafka: MockKafka, ended: threading.Event) -> None:
    """Keep a little ahead of what the stage has confirmed, in all partitions."""
    random = Random(1)
    offsets = Offsets(KafkaConnection(servers=kafka.bootstrap))
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    numbers = dict.fromkeys(range(OTLP_SPANS.partitions), 0)
    while not ended.is_set():
        done = offsets.committed(f"{group_of(kafka.bootstrap)}.ingest", [OTLP_SPANS])
        for number in numbers:
            confirmed = max(0, done.get((OTLP_SPANS.name, number), 0))
            while numbers[number] - confirmed < AHEAD:
                producer.produce(OTLP_SPANS.name, batch(random), partition=number)
                numbers[number] += 1
        producer.flush(10)
        ended.wait(0.05)
    offsets.close()


def measure(seconds: float, is_rare: bool) -> None:
    """Run the worker and say what it used."""
    kafka, ended = MockKafka(), threading.Event()
    command = [sys.executable, "-m", "bench.ingest_memory", "--worker", kafka.bootstrap, "--seconds", str(seconds)]
    process = subprocess.Popen([*command, *([] if is_rare else ["--usual"])], stdout=subprocess.PIPE, text=True)
    feeder = threading.Thread(target=feed, args=(kafka, ended))
    feeder.start()
    assert process.stdout is not None
    *looks, left = [json.loads(line) for line in process.stdout] or [{}]
    ended.set()
    feeder.join()
    code = process.wait()
    kafka.close()
    if code or len(looks) < 6:
        raise RuntimeError(f"the worker ended with {code} after {len(looks)} looks")
    third = len(looks) // 3
    samples = [(look["seconds"], look["mb"]) for look in looks]
    spans = looks[-1]["messages"] * SPANS
    searches = [now - then for now, then in zip(looks[-1]["searches"], looks[0]["searches"], strict=True)]
    print(
        f"{'rare' if is_rare else 'usual':6} {spans:9,} spans {max(mb for _, mb in samples):6.0f} MB at most;"
        f" {samples[third][1]:6.1f} MB after a third, {samples[-1][1]:6.1f} at the end,"
        f" {slope(samples) * 60:+6.1f} MB a minute; {left['unreachable']} objects in cycles, {left['mb']:+.1f} MB without"
        f" them; searches since the start {searches}",
        flush=True,
    )


def main() -> None:
    """Print a line, or be the worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--worker", metavar="KAFKA")
    parser.add_argument("--usual", action="store_true", help="search for cycles as Python does by itself")
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.seconds, not args.usual)
    else:
        measure(args.seconds, not args.usual)


if __name__ == "__main__":
    main()
