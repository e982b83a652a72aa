"""The worker's own health: what Prometheus scrapes, and whether it is alive and ready.

Nothing here counts: stages keep their numbers where they arise, and a scrape reads them. Every metric stands in METRICS
with what it means; the README's table of what to do is held to it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.core.panes import NEVER
from pipeline.stages.base import Stage
from pipeline.stages.batching import BatchingStage
from pipeline.stages.correlate import Correlate
from pipeline.stages.detect import Detect
from pipeline.stages.notify import Notify
from pipeline.stages.saving import SavingStage
from schemas.times import MICROS

# name -> labels, what it means. Names that end in _total are counters since the worker began.
METRICS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "aftermath_lag_messages": (("stage",), "Messages in the assigned partitions whose effects are not confirmed."),
    "aftermath_partitions": (("stage",), "Partitions that this worker was given."),
    "aftermath_elements_total": (("stage",), "Fetches taken, each with all new messages of a partition."),
    "aftermath_read_total": (("stage",), "Messages taken."),
    "aftermath_confirmed_total": (("stage",), "Fetches whose effects are confirmed."),
    "aftermath_newest_record_seconds": (("stage",), "When the newest message taken was appended, in Unix time."),
    "aftermath_in_flight_bytes": (("stage",), "Read and not confirmed; reading pauses at in_flight_mb."),
    "aftermath_waiting": (("stage",), "1 while a dependency is down and the stage waits for it."),
    "aftermath_failed": (("stage",), "1 where the stage has ended with an error."),
    "aftermath_messages_total": (
        ("stage", "topic", "outcome"),
        "What became of the messages: five outcomes, no sixth.",
    ),
    "aftermath_unaccounted_messages": (("stage",), "Messages read less the five outcomes: must be 0 at rest."),
    "aftermath_dead_letters_total": (("stage", "reason"), "Messages that could not be read, by reason."),
    "aftermath_late_total": (("stage", "source"), "Rows that came when their pane was closed, by partition."),
    "aftermath_newest_event_seconds": (("stage", "source"), "Event time of the newest row taken, in Unix time."),
    "aftermath_clock_ahead_seconds": (
        ("stage", "source"),
        "The most by which a row of the newest fetch was ahead of its append time; below 0 is a delay.",
    ),
    "aftermath_rows_ahead_total": (("stage", "topic"), "Rows more than a minute ahead of their append time: a clock."),
    "aftermath_operator_seconds_total": (("stage",), "Seconds spent in detectors or in correlation."),
    "aftermath_detector_seconds_total": (("stage", "detector"), "Of these, seconds spent in each detector."),
    "aftermath_open_incidents": (("stage",), "Open incidents of the tenants in its partitions."),
    "aftermath_writes_total": (("stage", "table"), "Batches that ClickHouse accepted."),
    "aftermath_write_retries_total": (("stage",), "Batches that ClickHouse did not take yet, and that went once more."),
    "aftermath_rows_written_total": (("stage", "table"), "Rows that ClickHouse accepted."),
    "aftermath_rows_refused_total": (("stage", "table"), "Rows that ClickHouse can never take: dead letters."),
    "aftermath_pages_sent_total": ((), "Pages that a receiver accepted."),
    "aftermath_pages_failed_total": ((), "Pages given up after all tries."),
    "aftermath_pages_not_sent_total": (("reason",), "Pages held or dropped by routing, by reason: silenced, ..."),
    "aftermath_snapshot_age_seconds": (("stage",), "Since the oldest of its partitions' newest snapshots was whole."),
    "aftermath_snapshot_bytes": (("stage",), "Size of the newest snapshots of its partitions."),
    "aftermath_state_bytes": (("stage", "source"), "What is remembered of a partition, as it was encoded last."),
}
COUNTED: Final = frozenset({"detect", "ingest"})  # stages that say what became of each message


class StageCollector(Collector):
    """Reads the stages of one worker at each scrape, from the scraper's thread."""

    def __init__(self, stages: Mapping[str, Stage[Any]]) -> None:
        self._stages = stages

    def collect(self) -> Iterable[Metric]:
        families = {name: _family(name) for name in METRICS}
        for name, labels, value in _samples(self._stages):
            families[name].add_metric(labels, value)
        return families.values()


def _family(name: str) -> Any:
    labels, meaning = METRICS[name]
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    return kind(name, meaning, labels=labels)


Sample = tuple[str, Sequence[str], float]


def _samples(stages: Mapping[str, Stage[Any]]) -> Iterator[Sample]:
    for name, stage in stages.items():
        yield from _of_any(name, stage)
        if name in COUNTED:
            yield from _of_outcomes(name, stage)
        if isinstance(stage, BatchingStage):
            yield "aftermath_write_retries_total", (name,), stage.retries
            for table, number in list(stage.writes.items()):
                yield "aftermath_writes_total", (name, table), number
            for table, number in list(stage.rows_written.items()):
                yield "aftermath_rows_written_total", (name, table), number
            for table, number in list(stage.rows_refused.items()):
                yield "aftermath_rows_refused_total", (name, table), number
        if isinstance(stage, Notify):
            yield "aftermath_pages_sent_total", (), stage.sent
            yield "aftermath_pages_failed_total", (), stage.given_up
            for reason, number in list(stage.not_sent.items()):
                yield "aftermath_pages_not_sent_total", (reason,), number
        if isinstance(stage, Detect):
            yield from _of_sources(name, stage)
        if isinstance(stage, Correlate):
            yield "aftermath_open_incidents", (name,), stage.open_incidents()
        if isinstance(stage, SavingStage):
            yield "aftermath_operator_seconds_total", (name,), stage.operator_seconds
            for detector, seconds in list(stage.spent.seconds.items()):
                yield "aftermath_detector_seconds_total", (name, detector), seconds
            for source, size in stage.state_bytes().items():
                yield "aftermath_state_bytes", (name, source), size
        if isinstance(stage, SavingStage) and (saved := stage.saved()):
            yield "aftermath_snapshot_age_seconds", (name,), max(age for age, _ in saved)
            yield "aftermath_snapshot_bytes", (name,), sum(size for _, size in saved)


def _of_any(name: str, stage: Stage[Any]) -> Iterator[Sample]:
    progress = stage.progress
    yield "aftermath_lag_messages", (name,), stage.lag()
    yield "aftermath_partitions", (name,), len(stage.consumer.frontiers()) if stage.app is not None else 0
    yield "aftermath_elements_total", (name,), progress.elements
    yield "aftermath_read_total", (name,), progress.messages
    yield "aftermath_confirmed_total", (name,), progress.confirmed
    if progress.newest_ms:
        yield "aftermath_newest_record_seconds", (name,), progress.newest_ms / 1000
    yield "aftermath_in_flight_bytes", (name,), stage.consumer.in_flight_bytes if stage.app is not None else 0
    yield "aftermath_waiting", (name,), bool(stage.waiting_on)
    yield "aftermath_failed", (name,), stage.error is not None
    for reason, number in list(stage.dead_letters.items()):
        yield "aftermath_dead_letters_total", (name, str(reason)), number


def _of_outcomes(name: str, stage: Stage[Any]) -> Iterator[Sample]:
    accounted = 0
    for topic, counts in list(stage.counters.items()):
        for outcome, number in counts.items():
            accounted += number
            yield "aftermath_messages_total", (name, topic, str(outcome)), number
    yield "aftermath_unaccounted_messages", (name,), stage.progress.messages - accounted


def _of_sources(name: str, stage: Detect) -> Iterator[Sample]:
    for topic, number in stage.rows_ahead().items():
        yield "aftermath_rows_ahead_total", (name, topic), number
    for source, number in list(stage.late.items()):
        yield "aftermath_late_total", (name, source), number
    for source, operator in stage.heard().items():
        if operator.newest_event > NEVER:
            yield "aftermath_newest_event_seconds", (name, source), operator.newest_event / MICROS
        if operator.clock_ahead is not None:
            yield "aftermath_clock_ahead_seconds", (name, source), operator.clock_ahead / MICROS


def not_alive(stages: Mapping[str, Stage[Any]]) -> list[str]:
    """What only a restart mends. Empty: alive, also while a dependency is down."""
    found = []
    for name, stage in stages.items():
        if stage.error is not None:
            found.append(f"{name}: {stage.error}")
        elif (trouble := stage.trouble()) is not None:
            found.append(f"{name}: {trouble}")
    return found


def not_ready(stages: Mapping[str, Stage[Any]]) -> list[str]:
    """What keeps the worker from its work now: no partitions yet, or a dependency that is down."""
    found = not_alive(stages)
    for name, stage in stages.items():
        if stage.app is None or not stage.consumer.frontiers():
            found.append(f"{name} was given no partitions yet")
        elif stage.waiting_on:
            found.append(f"{name} waits: {stage.waiting_on}")
    return found
