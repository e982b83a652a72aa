"""How long an incident takes: from the moment it can be known to its row on the timeline, on real Kafka, live.

    python -m bench.latency [--rate 5000] [--seconds 60] [--pane 5] [--together]

Detect, correlate and record run as docker-compose.yml runs them, a process each (`--together`: one process on one core,
as `aftermath run` runs them); broker, ClickHouse (embedded) and the load share the other core with what does not fit
there. Agents get stuck about once a second. What lateness and pane ask for by definition
is not counted: a loop whose fifth call ended at T can be known when the append times have passed the end of T's pane
by the lateness, and from then on the clock runs until a query finds the row that names the session in
`incident_timeline`. The last line counts from the publication of that fifth call and takes off the lateness alone, so
that it has the wait for the end of its pane in it. All partitions of all input topics carry something, as in
production: a source that is silent is waited for (its ticks), and that would be measured instead.

Then the overhead of a batch of one: decode, operator and encoding, for a single event at a time.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is imported

from bench.kafka_load import batches
from bench.operator_cost import Cost, Detection, timers
from bench.spans import Load, Spans
from bench.throughput import machine
from pipeline.clock import now_micros
from pipeline.core.panes import TimeRules
from pipeline.embedded import embedded_database
from pipeline.embedded.database import Database
from pipeline.kafka_connection import KafkaConnection
from pipeline.player import flush, new_producer, partition_for
from pipeline.settings import Settings
from schemas.codecs.single import decode_incident, decode_record, encode_event
from schemas.events import ClusterEvent, MetricPoint
from schemas.signals import Marker, Reduced, Signal
from schemas.times import MICROS
from schemas.topics import EVENTS, INCIDENTS, METRICS, SIGNALS, TRACES
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client, connect
from tests.services.kafka_jars import JarKafka
from tests.services.kafka_server import fresh_topics
from tests.services.reading import messages

PANE_SECONDS = TimeRules().pane // MICROS
STAGES = ("detect", "correlate", "record")
STUCK_EVERY = 20  # sessions
SEND_SECONDS = 0.005  # what is due by then leaves together
MAKING_MICROS = 30  # a span, at most
WARM_SECONDS = 25.0  # loops that can be known earlier are left out: the stages, and the broker's JVM, have just started
LOOK_SECONDS = 0.1  # between two looks at ClickHouse: so much a figure may be too high
SERIES = 75  # metrics beside the load: each once in 15 s
BESIDE_SECONDS = 0.2  # between the events on the other topics' partitions: so much they may hold a pane back
JOIN_SECONDS = 8.0
AFTER_SECONDS = 20.0  # the load goes on for so long after the last loop that counts, or the watermark would stop

# sessions whose incident stands on the timeline
TOLD = """
SELECT DISTINCT arrayJoin(session_ids) AS session FROM incident_revisions
WHERE incident_id IN (SELECT incident_id FROM incident_timeline)
"""


class Watcher(threading.Thread):
    """Asks ClickHouse again and again which sessions' incidents have a timeline; keeps when it first saw each."""

    def __init__(self, client: Client) -> None:
        super().__init__(name="watcher", daemon=True)
        self.seen: dict[str, int] = {}
        self._client = client
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            rows = self._client.query(TOLD)
            now = now_micros()
            for row in rows:
                self.seen.setdefault(row["session"], now)

    def __enter__(self) -> "Watcher":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


@dataclass(frozen=True, slots=True)
class Published:
    """begins: of the load. loops: when the fifth call of each planted loop ended. latest: the seconds by which the
    worst span left too late."""

    begins: int
    loops: dict[str, int]
    latest: float


def publish(load: Load, kafka: str) -> Published:
    """Each span at its time, and something on every other partition. Run in a process of its own: what makes the load
    is encoded before the first span leaves, and takes nothing from what is measured."""
    load = replace(load, begins=now_micros() + int(load.events * MAKING_MICROS) + MICROS)
    spans = Spans(load)
    made = list(spans)
    producer = new_producer(KafkaConnection(servers=kafka))
    errors: list[str] = []

    def told(error: object, _: object) -> None:
        if error is not None:
            errors.append(str(error))

    def send(topic: str, value: bytes, key: bytes, number: int) -> None:
        while True:
            try:
                producer.produce(topic, value, key, number, on_delivery=told)
                return
            except BufferError:
                producer.poll(0.01)

    beside = latest = rounds = 0
    now = now_micros()
    for key, value, stamp in made:
        if stamp > now:
            producer.poll(0)
            while stamp > (now := now_micros()):
                time.sleep(SEND_SECONDS)
        latest = max(latest, now - stamp)
        if stamp - beside >= BESIDE_SECONDS * MICROS:
            beside, rounds = stamp, rounds + 1
            resource = f"a/b/pod/r{rounds % SERIES}"  # each is scraped once in a while, not five times a second
            metric = encode_event(
                MetricPoint(event_time=stamp, tenant="acme", resource=resource, metric="up", value=1.0)
            )
            event = encode_event(
                ClusterEvent(
                    event_time=stamp, tenant="acme", event_id=f"e{stamp}", resource="a/b/c/d", kind="kubernetes"
                )
            )
            for topic, other in ((METRICS, metric), (EVENTS, event)):
                for number in range(topic.partitions):
                    send(topic.name, other, b"beside", number)
        send(TRACES.name, value, key, partition_for(key, TRACES.partitions))
    flush(producer, errors)
    return Published(load.begins, spans.truth.loops, latest / MICROS)


@contextmanager
def worker(
    kafka: str,
    database: Database,
    cores: Sequence[int],
    log: Path,
    names: Sequence[str],
    url: str = "",
    pane_seconds: int = PANE_SECONDS,
) -> Iterator[int]:
    """Some stages, as a worker runs them; its process. url: another way to the database."""
    password = str(database.password)
    environment = os.environ | {
        "AFTERMATH_KAFKA": kafka,
        "AFTERMATH_CLICKHOUSE_URL": url or database.url,
        "AFTERMATH_CLICKHOUSE_USER": database.user,
        "AFTERMATH_CLICKHOUSE_PASSWORD": password,
        "AFTERMATH_PANE_SECONDS": str(pane_seconds),
        "AFTERMATH_CONFIG": os.devnull,
    }
    stages = [word for stage in names for word in ("--stage", stage)]
    with log.open("w") as out:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", ",".join(map(str, cores)), sys.executable, "-m", "pipeline.cli", "run", *stages],
            env=environment, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            time.sleep(JOIN_SECONDS)
            yield process.pid
            if process.poll() is not None:
                raise RuntimeError(f"the worker ended with {process.returncode}: {log.read_text()[-2_000:]}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def incidents(rate: float, seconds: float, pane_seconds: int, *, is_together: bool) -> None:
    """Print how long the incidents took."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    workers, theirs = ([STAGES], cores[-1:]) if is_together else ([(stage,) for stage in STAGES], cores)
    rules = TimeRules(pane=pane_seconds * MICROS)
    kafka = JarKafka({cores[0]})
    try:
        kafka.start()
        fresh_topics(Settings(kafka=kafka.bootstrap))
        with embedded_database() as database, tempfile.TemporaryDirectory() as folder:
            client = connect(database.url, database.user, database.password)
            migrations.migrate(client)
            with ExitStack() as running:
                for names in workers:
                    log = Path(folder) / f"{names[0]}.log"
                    at = worker(kafka.bootstrap, database, theirs, log, names, pane_seconds=pane_seconds)
                    running.enter_context(at)
                watcher = running.enter_context(Watcher(client))
                load = Load(
                    events=int(rate * (WARM_SECONDS + seconds + AFTER_SECONDS)), concurrent=max(100, int(rate * 0.4)),
                    rate=rate, stuck_every=STUCK_EVERY,
                )  # fmt: skip
                with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                    published = pool.submit(publish, load, kafka.bootstrap).result()
            loops = published.loops
            appended = append_times(kafka.bootstrap, loops, rules)
            client.close()
    finally:
        kafka.remove()
    begins = published.begins
    first, last = begins + int(WARM_SECONDS * MICROS), begins + int((WARM_SECONDS + seconds) * MICROS)
    due = {name: rules.pane_of(at) + rules.pane + rules.lateness for name, at in loops.items()}
    due = {name: at for name, at in due.items() if first <= at < last}
    print(
        f"{rate:,.0f} events/s for {seconds:.0f} s, the load at most {published.latest:.2f} s behind: {len(due)} loops to be known"
    )
    for where, seen in (*appended.items(), ("row of the timeline", watcher.seen)):
        print_times(f"{where:<20} ms after it could be known", due, seen)
    print_times(
        "the same, ms after its publication and the lateness", {n: loops[n] + rules.lateness for n in due}, watcher.seen
    )


def print_times(what: str, since: dict[str, int], seen: dict[str, int]) -> None:
    """Print how long it took from each of these moments."""
    took = sorted((seen[name] - at) / 1_000 for name, at in since.items() if name in seen)
    missing = (
        "" if len(took) == len(since) else f"; WRONG: {len(since) - len(took)} are missing, or too late to be seen"
    )
    print(f"  {what}: {shown(took) if len(took) > 1 else 'none'}{missing}")


def append_times(kafka: str, loops: dict[str, int], rules: TimeRules) -> dict[str, dict[str, int]]:
    """When each session's first signal, the last source's marker of its pane, and its first incident were appended.

    Until that marker correlate must wait; all of them as the broker stamped them.
    """
    signals: dict[str, int] = {}
    incidents: dict[str, int] = {}
    marked: dict[int, dict[tuple[str, int], int]] = defaultdict(dict)  # pane -> source and partition -> when
    for message in messages(kafka, SIGNALS):
        found = decode_record(message.value())
        if isinstance(found, Marker):
            _earliest(marked[found.pane], (found.source, message.partition()), message)
        elif isinstance(found, Reduced) and isinstance(found.row, Signal):
            _earliest(signals, str(found.row.session_id), message)
    for message in messages(kafka, INCIDENTS):
        for session in decode_incident(message.value()).session_ids:
            _earliest(incidents, session, message)
    panes = {name: rules.pane_of(at) for name, at in loops.items()}
    markers = {name: max(marked[pane].values()) for name, pane in panes.items() if pane in marked}
    return {SIGNALS.name: signals, "all markers": markers, INCIDENTS.name: incidents}


def _earliest(found: "dict[Any, int]", what: Any, message: Any) -> None:
    at = message.timestamp()[1] * 1_000
    found[what] = min(found.get(what, at), at)


def batch_of_one(events: int) -> None:
    """Print what a single event costs, and what that is more than its share of a batch."""
    rules = TimeRules()
    with timers() as split:
        spans = Spans(Load(events + 20_000))
        detection, cost, took = Detection(rules, split), Cost(spans.load), []
        for number, batch in enumerate(batches(spans, rules, size=1)):
            began = time.perf_counter()
            detection.read(batch, cost)
            if number >= 20_000:  # the panes are full
                took.append((time.perf_counter() - began) * 1e3)
    print(f"a batch of one, {len(took):,} times, ms: {shown(sorted(took))}")


def shown(values: list[float]) -> str:
    """The quantiles that matter."""
    cuts = quantiles(values, n=100)
    return f"p50 {cuts[49]:.2f}, p90 {cuts[89]:.2f}, p95 {cuts[94]:.2f}, p99 {cuts[98]:.2f}, most {values[-1]:.2f}"


def main() -> None:
    """Print both."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rate", type=float, default=5_000.0)
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--pane", type=int, default=PANE_SECONDS, help="AFTERMATH_PANE_SECONDS of the worker")
    arguments.add_argument("--together", action="store_true", help="all stages in one process on one core")
    arguments.add_argument("--only", choices=("incidents", "one"), default=None)
    args = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(machine())
    if args.only != "one":
        incidents(args.rate, args.seconds, args.pane, is_together=args.together)
    if args.only != "incidents":
        batch_of_one(2_000)


if __name__ == "__main__":
    main()
