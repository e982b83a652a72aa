"""ClickHouse is gone for a minute under load: what goes on, what waits, how much memory that takes, and what is lost.

    python -m bench.outage [--rate 1000] [--seconds 60]

Real Kafka, live. One worker runs detect, correlate and notify, another archive, whose ClickHouse (embedded) stands
behind a port that is closed for so many seconds. A line every few seconds; at the end every span that was published
must stand in agent_traces once.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # before polars is imported

from bench.latency import STUCK_EVERY, publish, worker
from bench.spans import Load
from bench.throughput import machine
from pipeline.clock import now_micros
from pipeline.embedded import embedded_database
from pipeline.kafka_connection import KafkaConnection
from pipeline.offsets import Offsets
from pipeline.settings import Settings
from schemas.times import MICROS
from schemas.topics import INCIDENTS, NOTIFICATIONS, SIGNALS, TRACES, Topic
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client, connect
from tests.faults.sink import FaultySink
from tests.services.kafka_jars import JarKafka
from tests.services.kafka_server import fresh_topics

BEFORE_SECONDS, AFTER_SECONDS = 30.0, 30.0  # of load, round the outage
LOOK_SECONDS = 2.5
CATCH_UP_SECONDS = 180.0
BEHIND_SECONDS = 2.0  # offsets are committed once a second: what seems to be behind when nothing is
GROUP = "aftermath.archive"


class Looker(threading.Thread):
    """Prints a line now and then until it is told to end."""

    def __init__(self, kafka: str, client: Client, archive: int) -> None:
        super().__init__(name="looker", daemon=True)
        self.is_down = False
        self.most_mb = 0.0
        self.behind = 0  # spans that archive has not confirmed
        self._offsets = Offsets(KafkaConnection(servers=kafka))
        self._client = client
        self._archive = archive
        self._began = time.monotonic()
        self._ended = threading.Event()

    def run(self) -> None:
        print(
            f"{'s':>5} {'ClickHouse':>10} {'published':>10} {'archived':>9} {'behind':>8} {'archive MB':>11}"
            f" {'signals.v1':>11} {'incidents':>10} {'pages':>6}"
        )
        while not self._ended.wait(LOOK_SECONDS):
            published, megabytes = self.number(TRACES), resident_mb(self._archive)
            self.behind = published - sum(self._offsets.committed(GROUP, [TRACES]).values())
            self.most_mb = max(self.most_mb, megabytes)
            print(
                f"{time.monotonic() - self._began:>5.0f} {'down' if self.is_down else 'up':>10} {published:>10,}"
                f" {archived(self._client):>9,} {self.behind:>8,} {megabytes:>11.0f} {self.number(SIGNALS):>11,}"
                f" {self.number(INCIDENTS):>10,} {self.number(NOTIFICATIONS):>6,}",
                flush=True,
            )

    def number(self, topic: Topic) -> int:
        """Messages in a topic."""
        return sum(self._offsets.ends([topic]).values())

    def end(self) -> None:
        """No more lines."""
        self._ended.set()
        self.join()
        self._offsets.close()


def archived(client: Client) -> int:
    """Different spans that stand in the table."""
    found = client.query("SELECT uniqExact(partition, offset) AS n, count() AS rows FROM agent_traces FINAL")[0]
    if found["n"] != found["rows"]:
        raise RuntimeError(f"{found['rows']} rows of {found['n']} spans: some stand there twice")
    return int(found["n"])


def resident_mb(process: int) -> float:
    """Memory of another process now."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def outage(rate: float, seconds: float, cores: tuple[int, int]) -> None:
    """Print the lines, and the verdict."""
    kafka = JarKafka({cores[0]}, compiles_twice=True)
    try:
        kafka.start()
        fresh_topics(Settings(kafka=kafka.bootstrap))
        with embedded_database() as database, tempfile.TemporaryDirectory() as folder:
            client = connect(database.url, database.user, database.password)
            migrations.migrate(client)
            sink = FaultySink(database, client)
            words = (kafka.bootstrap, database, cores[1:])
            with (
                worker(*words, Path(folder) / "detect.log", ("detect", "correlate", "notify")),
                worker(*words, Path(folder) / "archive.log", ("archive",), sink.url) as archive,
            ):
                lasts = BEFORE_SECONDS + seconds + AFTER_SECONDS
                load = Load(
                    int(rate * lasts), max(100, int(rate * 0.4)), begins=now_micros() + MICROS, rate=rate,
                    stuck_every=STUCK_EVERY,
                )  # fmt: skip
                looker = Looker(kafka.bootstrap, client, archive)
                publisher = threading.Thread(target=publish, args=(load, kafka.bootstrap), daemon=True)
                publisher.start()
                looker.start()
                time.sleep(BEFORE_SECONDS)
                before, looker.is_down = looker.most_mb, True
                sink.close_port()
                time.sleep(seconds)
                sink.open_port()
                looker.is_down, back = False, time.monotonic()
                while looker.behind > BEHIND_SECONDS * rate and time.monotonic() - back < CATCH_UP_SECONDS:
                    time.sleep(0.2)
                caught_up = time.monotonic() - back
                publisher.join()
                while archived(client) < load.events and time.monotonic() - back < CATCH_UP_SECONDS:
                    time.sleep(0.2)
                looker.end()
            found = archived(client)
            sink.close()
            client.close()
        print(
            f"{load.events:,} published, {found:,} archived once: {'right' if found == load.events else 'WRONG'};"
            f" less than {BEHIND_SECONDS:.0f} s behind {caught_up:.1f} s after ClickHouse was back;"
            f" archive took at most {before:.0f} MB before, {looker.most_mb:.0f} MB in all"
        )
    finally:
        kafka.remove()


def main() -> None:
    """One outage."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rate", type=float, default=1_000.0)
    arguments.add_argument("--seconds", type=float, default=60.0)
    args = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    print(machine())
    outage(args.rate, args.seconds, (cores[0], cores[-1]))


if __name__ == "__main__":
    main()
