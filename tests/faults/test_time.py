"""Events come twice, late, from the future, in bursts, or from one agent alone; a processor is short of time."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from alerts.outbox import Outbox
from alerts.rules.files import SHIPPED, load_rules
from pipeline.backtest import Backtest
from pipeline.core.panes import TimeRules
from pipeline.embedded.broker import JOIN_GROUP
from pipeline.operators.detect import DetectOperator
from pipeline.settings import MEGABYTE, Settings
from pipeline.stages.archive import Archive
from pipeline.stages.base import StageError
from schemas.codecs import TICK, Batch, Decoded
from schemas.codecs.blocks import decode_batch
from schemas.errors import Outcome
from schemas.incidents import Incident
from schemas.signals import Marker
from schemas.topics import TRACES
from tests.builders import at, decoded, span
from tests.faults.broker import FaultyBroker
from tests.faults.load import Load, event_of
from tests.faults.sink import FaultySink
from tests.faults.worker import Worker
from tests.stages.conftest import Sink, Start, until

RULES = TimeRules()
YEAR = 365 * 24 * 3600


def spans_of(agent: str, seconds: Sequence[float], *, is_stuck: bool) -> list[dict[str, Any]]:
    """An agent's calls; one that is stuck asks the same and is answered the same each time."""
    return [
        span(
            second,
            span_id=f"{agent}-{number}",
            trace_id=f"{agent}-trace",
            session_id=f"{agent}-session",
            agent_id=agent,
            tool_name="ticket.read",
            tool_args=json.dumps({"id": 7 if is_stuck else number}),
            result_digest="same" if is_stuck else f"result-{number}",
            input_tokens=1_000,
        )
        for number, second in enumerate(seconds)
    ]


def incidents(rows: Sequence[dict[str, Any]]) -> Backtest:
    """A backtest over these spans, in chunks of a pane or so."""
    found = Backtest()
    ordered = sorted(rows, key=lambda row: int(row["event_time"]))
    for start in range(0, len(ordered), 200):
        found.read([decoded("agent_span", ordered[start : start + 200])])
    found.finish()
    return found


def read(operator: DetectOperator, values: Sequence[bytes], stamps: Sequence[int], offset: int) -> Decoded:
    batch = Batch(TRACES.name, 0, range(offset, offset + len(values)), list(stamps), [None] * len(values), list(values))
    return decode_batch(batch, operator.record)


@pytest.mark.fault("F30")
def test_times_that_cannot_be_move_no_watermark_and_are_counted() -> None:
    good = [event_of(number) for number in range(0, 2_000, 40)]  # 50 events over 98 s
    hostile = [
        event_of(0, event_time=at(10 * YEAR)),  # ten years ahead: late
        *(json.dumps({"type": "agent_span", **bare(moment)}).encode() for moment in (0, -1, None)),  # rejected
    ]
    draw = random.Random(30)
    mixed = sorted([(number, value) for number, value in enumerate(good)] + [(draw.uniform(0, 50), v) for v in hostile])
    seen = []
    for log in ([(number, value) for number, value in enumerate(good)], mixed):
        operator = DetectOperator(TRACES.name, 0, "run", 1)
        counts: Counter[Outcome] = Counter()
        panes: list[int] = []
        for offset, (number, value) in enumerate([*log, (200, TICK)]):
            found = operator.read(read(operator, [value], [at(2 * number)], offset))
            counts += found.counts
            panes += [message.pane for _, message in found.messages if isinstance(message, Marker)]
        seen.append((panes, counts))
    (panes, counts), (same_panes, more_counts) = seen
    assert same_panes == panes
    assert more_counts - counts == Counter({Outcome.LATE: 1, Outcome.REJECTED: 3})


def bare(moment: int | None) -> dict[str, Any]:
    fields = {name: value for name, value in span(0).items() if name not in ("type", "event_time")}
    return fields if moment is None else fields | {"event_time": moment}


@pytest.mark.fault("F32")
def test_an_agent_that_is_nearly_all_of_the_load_delays_no_verdict_on_another() -> None:
    stuck = spans_of("stuck", [4.0 * number for number in range(30)], is_stuck=True)
    busy = spans_of("busy", [0.04 * number for number in range(3_000)], is_stuck=False)
    calm, loaded = incidents(stuck), incidents(stuck + busy)
    assert len(busy) / (len(stuck) + len(busy)) > 0.9

    def of_stuck(found: Backtest) -> list[tuple[str, int, int]]:
        mine: list[Incident] = [i for i in found.outcomes.incidents if i.agent_id == "stuck"]
        return [(incident.incident_id, incident.detected_at, incident.started_at) for incident in mine]

    assert of_stuck(calm)
    assert of_stuck(loaded) == of_stuck(calm)


@pytest.mark.fault("F42")
def test_a_loop_that_comes_and_goes_pages_once() -> None:
    bursts = [400.0 * burst + 2.0 * number for burst in range(6) for number in range(12)]  # 24 s of every 400
    found = incidents(spans_of("on-and-off", bursts, is_stuck=True))
    outbox, told = Outbox(load_rules(SHIPPED)), Counter[tuple[str, str]]()
    for revision in found.outcomes.revisions:
        for notification in outbox.decide(revision):
            told[notification.incident_id, notification.transition] += 1
            outbox.record(notification.__class__(**{**notification.as_record(), "state": "sent"}))
    firing = [key for key in told if key[1] == "firing"]
    assert len(firing) == 1
    assert set(told.values()) == {1}
    resolved = [revision for revision in found.outcomes.revisions if revision.status == "resolved"]
    assert len(resolved) > 2, "it never went away in between"


@pytest.mark.embedded
@pytest.mark.fault("F33")
async def test_a_burst_is_read_off_and_what_is_in_flight_stays_bounded(
    settings: Settings, sink: Sink, load: Load, started: Start
) -> None:
    errors: list[StageError] = []
    stage = Archive(settings.model_copy(update={"in_flight_mb": 1}), errors.append, writer=sink, rules=RULES)
    await started(stage)
    load.produce(100)
    await until(lambda: load.is_confirmed(stage))
    peak = 0
    load.produce(2_000, summary="x" * 2_000)  # 20 times as many, and large
    while not load.is_confirmed(stage):
        peak = max(peak, stage.consumer.in_flight_bytes)
        await asyncio.sleep(0.005)
    assert peak < (1 + TRACES.partitions) * MEGABYTE
    assert {(row["partition"], row["offset"], row["span_id"]) for row in sink.rows["agent_traces"]} == load.produced
    assert await stage.stop()
    assert not errors


@contextmanager
def starved(process: int, rivals: int = 3) -> Iterator[None]:
    """One processor for this process, and others that want all of it."""
    (processor, *_) = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(process, {processor})
    spin = f"import os; os.sched_setaffinity(0, {{{processor}}})\nwhile True: pass"
    spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(rivals)]
    try:
        yield
    finally:
        for one in spinning:
            one.kill()
            one.wait()
        os.sched_setaffinity(process, os.sched_getaffinity(0))


@pytest.mark.embedded
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen on this system")
@pytest.mark.fault("F35")
@pytest.mark.parametrize("seconds", [4.0, pytest.param(60.0, marks=pytest.mark.soak)])
def test_a_worker_that_is_short_of_processor_time_falls_behind_and_stays_in_its_group(
    kafka: FaultyBroker, at_sink: Settings, faulty: FaultySink, load: Load, tmp_path: Path, seconds: float
) -> None:
    settings = at_sink.model_copy(update={"session_timeout_seconds": 6})
    worker = Worker(settings, ["archive"], tmp_path / "log")
    try:
        load.produce(40)
        worker.wait_until(lambda: load.is_committed(settings.group("archive")))
        joined = kafka.asked()[JOIN_GROUP]
        with starved(worker.pid):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                load.produce(40)
                time.sleep(0.1)
        worker.wait_until(lambda: load.is_committed(settings.group("archive")))
        assert kafka.asked()[JOIN_GROUP] == joined
    finally:
        worker.kill()
    assert set(faulty.rows()) == load.produced
