"""The two beds a throughput run lies in: a real Kafka that was filled before, and the embedded broker that is fed.

Both keep the broker and whatever feeds it on one core and the worker that is measured on another. A worker is a module
of bench/ run as a process (bench/measuring.py). The embedded broker keeps 5 MB of a partition, so the player feeds it as
fast as the worker commits, and the wall clock of such a run is the player's as much as the worker's: its CPU is what
can be compared.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from confluent_kafka.admin import AdminClient, NewTopic

from bench.kafka_load import publish
from bench.measuring import Result
from bench.plain_confluent import ALERTS
from bench.plain_faust import CHANGELOGS
from bench.spans import Load, Spans, Truth
from pipeline.core.panes import TimeRules
from pipeline.embedded.broker import MockKafka
from pipeline.kafka_connection import KafkaConnection
from pipeline.offsets import Offsets
from pipeline.player import Player, Reader
from pipeline.settings import Settings
from schemas.codecs.single import decode_record
from schemas.signals import Reduced, Signal
from schemas.topics import ALL, INPUTS, SIGNALS, TRACES, Topic
from tests.services.kafka_jars import JarKafka
from tests.services.kafka_server import fresh_topics
from tests.services.reading import values

SMALL = Topic("bench.small", TRACES.partitions)  # a shorter load for the engine that would take all day
RULES = TimeRules()
WORKER_SECONDS = 1_200.0


class Bed(Protocol):
    """A broker with a load."""

    says: str
    kafka: str

    def run(self, module: str, topics: Sequence[Topic], group: str, words: Sequence[str] = ()) -> Result:
        """Run a worker over everything in these topics. Raises RuntimeError where it fails."""

    def truth(self, topics: Sequence[Topic]) -> Truth:
        """What is in them."""


class RealBed:
    """Apache Kafka on a core of its own, filled before the first worker starts."""

    def __init__(self, kafka: JarKafka, core: int, load: Load, small: Load) -> None:
        self.kafka, self.says, self._core = kafka.bootstrap, kafka.says, core
        fresh_topics(Settings(kafka=self.kafka, recorded=True))
        admin = AdminClient({"bootstrap.servers": self.kafka})
        names = (ALERTS, SMALL.name, *CHANGELOGS)
        for future in admin.create_topics([NewTopic(name, TRACES.partitions, 1) for name in names]).values():
            future.result()
        self._truths = {
            TRACES.name: publish(load, self.kafka, RULES).truth,
            SMALL.name: publish(small, self.kafka, RULES, topic=SMALL.name).truth,
        }

    def truth(self, topics: Sequence[Topic]) -> Truth:
        return self._truths[SMALL.name if SMALL in topics else TRACES.name]

    def run(self, module: str, topics: Sequence[Topic], group: str, words: Sequence[str] = ()) -> Result:
        offsets = Offsets(KafkaConnection(servers=self.kafka))
        expect = sum(offsets.ends(topics).values())
        offsets.close()
        return _finished(_worker(module, self.kafka, topics, expect, self._core, words))

    def looping(self) -> set[str]:
        """The sessions that stand in signals.v1 as looping."""
        rows = (decode_record(value) for value in values(self.kafka, SIGNALS))
        signals = (message.row for message in rows if isinstance(message, Reduced) and isinstance(message.row, Signal))
        return {str(signal.session_id) for signal in signals if signal.type.startswith("feedback_loop.")}


class EmbeddedBed:
    """librdkafka's mock cluster in this process, a new one for each worker."""

    says = "embedded broker"
    kafka = ""

    def __init__(self, core: int, load: Load) -> None:
        self._core = core
        spans = Spans(load)
        self._messages = [(TRACES.name, *span) for span in spans]
        self._truth = spans.truth
        panes = {RULES.pane_of(stamp) for *_, stamp in self._messages}
        self._ticks = len(panes) + 1  # of each partition of each input topic

    def truth(self, topics: Sequence[Topic]) -> Truth:
        return self._truth

    def run(self, module: str, topics: Sequence[Topic], group: str, words: Sequence[str] = ()) -> Result:
        broker = MockKafka((*ALL, Topic(ALERTS, TRACES.partitions)))
        try:
            expect = len(self._messages) + self._ticks * sum(topic.partitions for topic in topics)
            worker = _worker(module, broker.bootstrap, topics, expect, self._core, words)
            readers = (Reader(group, tuple(topics)),)
            player = Player(
                KafkaConnection(servers=broker.bootstrap), pane=RULES.pane, lateness=RULES.lateness, readers=readers,
                should_stop=lambda: worker.poll() is not None,
            )  # fmt: skip
            player.play(self._messages)
            return _finished(worker)
        finally:
            broker.close()


@contextmanager
def bed(kind: str, cores: tuple[int, int], load: Load, small: Load) -> Iterator[RealBed | EmbeddedBed]:
    """cores: the broker's, and the worker's."""
    if kind == "embedded":
        yield EmbeddedBed(cores[1], load)
        return
    kafka = JarKafka({cores[0]}, compiles_twice=True)
    try:
        kafka.start()
        yield RealBed(kafka, cores[1], load, small)
    finally:
        kafka.remove()


def _worker(
    module: str, kafka: str, topics: Sequence[Topic], expect: int, core: int, words: Sequence[str]
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", module, "--kafka", kafka, "--expect", str(expect), "--core", str(core), *words]
    if topics[0] not in INPUTS:
        command += ["--topic", topics[0].name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finished(worker: "subprocess.Popen[str]") -> Result:
    try:
        out, errors = worker.communicate(timeout=WORKER_SECONDS)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{worker.args!r} took more than {WORKER_SECONDS:.0f} s") from None
    finally:
        worker.kill()
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if worker.returncode or not lines:
        raise RuntimeError(f"{worker.args!r} ended with {worker.returncode}: {errors[-2_000:]}")
    return Result.parse(lines[-1])
