"""detect on a broker: signals, dead letters, ticks, the dead-letter stop."""

import time
from collections.abc import Callable

import pytest

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.detect import Detect
from schemas.codecs import TICK
from schemas.codecs.single import decode, decode_record, encode_event
from schemas.errors import Outcome
from schemas.events import EVENTS
from schemas.signals import Marker, Reduced
from schemas.topics import DEAD_LETTERS, SIGNALS, TRACES
from tests.builders import T0, at, span
from tests.stages.conftest import Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
GARBAGE = b"\xff\xfe not an event"


def a_stage(settings: Settings, now: Callable[[], int] = lambda: T0) -> tuple[Detect, list[StageError]]:
    errors: list[StageError] = []
    return Detect(settings, errors.append, limits=Limits(), rules=TimeRules(), now=now), errors


def a_span(seconds: float) -> bytes:
    fields = {key: value for key, value in span(seconds).items() if key != "type"}
    return encode_event(EVENTS["agent_span"].model_validate(fields))


def write(kafka: Broker, *values: bytes, seconds: float = 0.0) -> None:
    kafka.produce(TRACES.name, list(values), partition=1, stamp=at(seconds) // 1000)


async def test_rows_stand_before_their_marker_and_the_marker_counts_them(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    write(kafka, a_span(1), a_span(2), seconds=2)
    write(kafka, TICK, seconds=30)
    stage, errors = a_stage(settings)
    await started(stage)
    await until(lambda: len(kafka.values(SIGNALS.name)) >= 4 + 4)
    await stage.stop()
    assert not errors
    assert kafka.committed(settings.group("detect"), TRACES.name) == [-1001, 3, -1001, -1001]
    pane = at(0)
    found = 0
    for number in range(SIGNALS.partitions):
        sent = [decode_record(value) for value, _ in kafka.records(SIGNALS.name, number) if value]
        rows = [place for place, message in enumerate(sent) if isinstance(message, Reduced) and message.pane == pane]
        marked = [m for m in sent if isinstance(m, Marker) and m.pane == pane]
        assert [marker.rows for marker in marked] == [len(rows)]
        assert all(place < sent.index(marked[0]) for place in rows)
        found += len(rows)
    assert found == 1  # both spans in one row of usage
    assert sum(stage.counters[TRACES.name].values()) == 3


async def test_what_cannot_be_read_becomes_a_dead_letter_once_and_the_rest_is_kept(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    write(kafka, a_span(1), GARBAGE, a_span(2), seconds=2)
    for read, accepted, rejected in ((3, 2, 1), (1, 1, 0)):  # the second start goes on from the snapshot of the first
        stage, errors = a_stage(settings)
        await started(stage)
        await until(lambda stage=stage, read=read: stage.progress.messages == read)
        assert await stage.stop()
        assert not errors
        assert stage.counters[TRACES.name][Outcome.ACCEPTED] == accepted
        assert stage.counters[TRACES.name][Outcome.REJECTED] == rejected
        write(kafka, a_span(3), seconds=3)
    letters = [decode(value)[1] for value in kafka.values(DEAD_LETTERS.name)]
    assert [(item["topic"], item["partition"], item["offset"]) for item in letters] == [(TRACES.name, 1, 1)]
    assert (letters[0]["stage"], letters[0]["value"], bool(letters[0]["detail"])) == ("detect", GARBAGE, True)


async def test_too_many_dead_letters_in_a_row_stop_the_stage_and_keep_the_offsets(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    write(kafka, a_span(1), a_span(2), seconds=2)
    stage, errors = a_stage(settings)
    await started(stage)
    await until(lambda: kafka.committed(settings.group("detect"), TRACES.name)[1] == 2)
    write(kafka, *[GARBAGE] * 101, seconds=3)
    await until(lambda: errors)
    await stage.stop()
    assert "more than 100 messages in a row cannot be read" in str(errors[0])
    assert kafka.committed(settings.group("detect"), TRACES.name)[1] == 2
    assert kafka.values(DEAD_LETTERS.name) == []


async def test_a_live_partition_that_is_idle_gets_ticks_that_close_its_panes(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    now = time.time_ns() // 1000
    live = settings.model_copy(update={"recorded": False, "pane_seconds": 1})
    write(kafka, a_span(1), seconds=(now - T0) / 1e6 - 30)
    stage, errors = a_stage(live, now=lambda: time.time_ns() // 1000)
    await started(stage)
    await until(lambda: TICK in kafka.values(TRACES.name))
    await until(lambda: any(isinstance(decode_record(value), Marker) for value in kafka.values(SIGNALS.name)))
    await stage.stop()
    assert not errors
    for number in range(TRACES.partitions):  # empty partitions too
        assert (TICK in [value for value, _ in kafka.records(TRACES.name, number)]) or number == 1


async def test_recorded_data_gets_no_ticks_from_a_worker(kafka: Broker, settings: Settings, started: Start) -> None:
    write(kafka, a_span(1), seconds=1)
    stage, _ = a_stage(settings, now=lambda: at(3600))
    await started(stage)
    await until(lambda: stage.progress.confirmed == 1)
    await stage.stop()
    assert not [task for task in stage._tasks if task.get_name() == "detect: ticks"]
    assert TICK not in kafka.values(TRACES.name)
