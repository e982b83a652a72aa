"""Every figure of /metrics is other than 0 when that happens which it tells of: none is there for its name alone."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from alerts.outbox import Notification
from alerts.page import Told
from alerts.receivers import Delivery
from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.health import METRICS, StageCollector
from pipeline.operators.detect import DETECTORS
from pipeline.player import Player, readers
from pipeline.recording import Recording
from pipeline.settings import Settings
from pipeline.stages.archive import Archive
from pipeline.stages.base import StageError
from pipeline.stages.correlate import Correlate
from pipeline.stages.detect import Detect
from pipeline.stages.record import Record
from schemas.codecs.single import encode_event
from schemas.errors import Outcome
from schemas.events import EVENTS
from schemas.incidents import Incident
from schemas.topics import TRACES
from sinks.clickhouse.writer import RejectedRow
from tests.builders import T0, at, event, metric, span
from tests.stages.conftest import Sink, Start, until
from tests.stages.kafka import Broker
from tests.stages.test_detect import GARBAGE, a_span
from tests.stages.test_notify_routes import Chat, a_silence, a_stage, an_incident, say, write

pytestmark = pytest.mark.embedded
AHEAD_SECONDS = 3600  # of one row's clock


class Poor(Sink):
    """Down at first; then it takes every row but one."""

    def write(self, table: str, frame: pl.DataFrame, token: str) -> list[Any]:
        super().write(table, frame, token)
        bad = [row for row in frame.to_dicts() if row.get("span_id") == "span-7"] if table == "agent_traces" else []
        return [RejectedRow(table, row, 53, "Code: 53. A value does not fit") for row in bad]


class HalfDeaf(Chat):
    """What is told of one place it refuses for good."""

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        if incident.scope == "eu/b":
            return Delivery(False, "400: it does not want this", is_transient=False)
        return await super().send(notification, incident, others)


@pytest.fixture
def loop() -> Iterator[Recording]:
    """Two minutes of an agent that writes the same again and again, with a metric and events beside it."""
    with Recording() as made:
        for number in range(240):
            rows = [
                span(
                    number / 2,
                    span_id=f"span-{number}",
                    tool_name="write_hook",
                    tool_args='{"hook": "wp_head"}',
                    access="write",
                    target="site-12/wordpress/hook/wp_head",
                ),
                metric(number / 2, 1.0),
                event(
                    number / 2, f"event-{number}", "kubernetes", "site-12/pod/web", severity="warning", reason="BackOff"
                ),
            ]
            for row in rows:
                made_event = EVENTS[row.pop("type")].model_validate(row)
                made.add(made_event, encode_event(made_event), made_event.event_time)
        made.sort()
        yield made


async def test_each_figure_tells_of_what_it_is_for(
    kafka: Broker,
    settings: Settings,
    started: Start,
    loop: Recording,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors: list[StageError] = []
    sink, chat = Poor(), HalfDeaf()
    sink.is_down = True
    rules = TimeRules()
    detect = Detect(settings, errors.append, limits=Limits(), rules=rules, now=lambda: T0)
    archive = Archive(settings, errors.append, writer=sink, rules=rules)
    correlate = Correlate(settings, errors.append, limits=Limits(), rules=rules, now=lambda: T0)
    record = Record(settings, errors.append, writer=sink)
    notify, more_errors = a_stage(settings, chat, tmp_path)
    stages: dict[str, Any] = {stage.name: stage for stage in (detect, archive, correlate, record, notify)}
    seen: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)

    def scrape(*names: str) -> bool:
        for family in StageCollector(stages).collect():
            for sample in family.samples:
                if sample.value:
                    labels = tuple(sample.labels[label] for label in METRICS[sample.name][0])
                    seen[sample.name][labels] = sample.value
        return set(names) <= seen.keys()

    for stage in stages.values():
        await started(stage)
    await until(lambda: all(stage.consumer.frontiers() for stage in stages.values()))
    player = Player(
        settings.kafka_connection, pane=rules.pane, lateness=rules.lateness, readers=readers(settings.group)
    )
    await asyncio.to_thread(player.play, list(loop.messages()))
    await until(lambda: scrape("aftermath_waiting", "aftermath_in_flight_bytes", "aftermath_open_incidents"))
    hostile = [a_span(1), GARBAGE, a_span(AHEAD_SECONDS)]
    kafka.produce(TRACES.name, hostile, stamp=at(300) // 1000)
    await until(lambda: detect.counters.get(TRACES.name, {}).get(Outcome.REJECTED))
    await until(lambda: scrape("aftermath_clock_ahead_seconds", "aftermath_rows_ahead_total"))
    sink.is_down = False
    write(kafka, an_incident("a"), an_incident("b", scope="eu/b"))
    await until(lambda: scrape("aftermath_pages_sent_total", "aftermath_pages_failed_total"))
    say(kafka, a_silence(at(10**9)))
    write(kafka, an_incident("elsewhere", scope="eu/c"))
    await until(lambda: any(names == ["elsewhere"] for _, names in chat.told))  # by now the silence is known
    write(kafka, an_incident("c"))
    quiet = ("aftermath_failed", "aftermath_unaccounted_messages")
    await until(lambda: scrape(*METRICS.keys() - set(quiet)), 60)
    assert not errors + more_errors
    seen.pop("aftermath_unaccounted_messages", None)  # between taking a fetch and counting it, it may be
    scrape()
    assert not any(name in seen for name in quiet), "at rest neither happens by itself"

    assert archive.retries > 1
    told = [line for line in caplog.messages if line.startswith("archive ")]
    assert told == ["archive waits for its sink: ClickHouse is down", "archive goes on: its sink takes rows again"], (
        "a line for each change of state, none for each try"
    )
    source = f"{TRACES.name}/0"
    assert seen["aftermath_late_total"]["detect", source] == 2, "one too late, one an hour ahead"
    assert seen["aftermath_rows_ahead_total"]["detect", TRACES.name] == 1
    assert seen["aftermath_clock_ahead_seconds"]["detect", source] == AHEAD_SECONDS - 300
    assert seen["aftermath_newest_event_seconds"]["detect", source] <= at(120) / 1_000_000, "not the row an hour ahead"
    assert seen["aftermath_dead_letters_total"]["archive", "wrong_type"] == 1, "the row that its table refused"
    assert sum(number for (stage, _), number in seen["aftermath_dead_letters_total"].items() if stage == "detect") == 1
    timed = {detector for stage, detector in seen["aftermath_detector_seconds_total"] if stage == "detect"}
    assert timed == {module.__name__.rpartition(".")[2] for modules in DETECTORS.values() for module in modules}
    joined = {detector for stage, detector in seen["aftermath_detector_seconds_total"] if stage == "correlate"}
    assert {"call_rate", "careless_change", "unmatched_change", "repeated_run", "silence"} <= joined
    for stage, total in seen["aftermath_operator_seconds_total"].items():
        parts = [sec for (of, _), sec in seen["aftermath_detector_seconds_total"].items() if of == stage[0]]
        assert 0 < sum(parts) <= total, "the detectors are part of the operator"
    assert ("correlate", "signals.v1/0") not in seen["aftermath_late_total"], "correlate judges nobody's lateness"
    assert seen["aftermath_state_bytes"].keys() >= {("detect", source)}

    detect.progress.messages += 1  # as if one had been lost between two lines of ours
    detect.failed(ValueError("made for the test"), "nowhere")
    assert scrape(*quiet)
    assert seen.keys() == METRICS.keys()
