"""ClickHouse fails: no row is lost, none is doubled for a reader, and what is no row's fault is blamed on no row."""

import asyncio
import random
import time
from itertools import pairwise

import pytest

from pipeline.core.panes import TimeRules
from pipeline.settings import MEGABYTE, Settings
from pipeline.stages import batching
from pipeline.stages.archive import Archive
from pipeline.stages.base import StageError
from schemas.topics import DEAD_LETTERS, TRACES
from sinks.clickhouse.client import LateClient, connect_writer
from sinks.clickhouse.writer import Writer
from tests.faults.load import Load
from tests.faults.sink import RETRY_AFTER_SECONDS, FaultySink
from tests.stages.conftest import Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
OUTAGE_SECONDS = 3.0  # pauses are ten times shorter here: half a minute
LONGEST_SECONDS_TO_NOTICE = 1.0


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of the product, ten times shorter."""
    monkeypatch.setattr(batching, "FIRST_PAUSE_SECONDS", batching.FIRST_PAUSE_SECONDS / 10)
    monkeypatch.setattr(batching, "LONGEST_PAUSE_SECONDS", batching.LONGEST_PAUSE_SECONDS / 10)


REFUSALS = (
    "500",
    "503",
    "429",
    "code 242",
    "code 243",
    "code 252",
)  # the last three: read-only, disk full, too many parts


class Worker(Archive):
    """archive with the writer of the product; keeps its errors."""

    def __init__(self, settings: Settings, writer: Writer | None = None) -> None:
        self.errors: list[StageError] = []
        super().__init__(settings, self.errors.append, writer=writer or connect_writer(settings), rules=TimeRules())


async def everything_arrives_once(stage: Worker, load: Load, faulty: FaultySink) -> None:
    """Wait until all is confirmed, stop, and judge."""
    await until(lambda: load.is_confirmed(stage))
    assert await stage.stop()
    assert not stage.errors
    assert stage.waiting_on == ""
    assert load.is_committed(stage.settings.group("archive"))
    rows = faulty.rows()
    assert load.missing(rows) == set()
    assert set(rows.values()) == {1}
    assert len(rows) == len(load.produced)


@pytest.mark.fault("F17", "F24")
async def test_a_sink_that_refuses_at_times_and_then_always_takes_every_row_in_the_end(
    at_sink: Settings, faulty: FaultySink, load: Load, started: Start
) -> None:
    refusals = iter(REFUSALS)
    faulty.plan = lambda number: "pass" if number % 2 and number < 6 else next(refusals, "pass")
    stage = Worker(at_sink)
    await started(stage)
    while set(faulty.became) < {*REFUSALS, "pass"} or faulty.inserts[-1].became != "pass":
        load.produce(4)
        inserts = len(faulty.inserts)
        await until(lambda inserts=inserts: len(faulty.inserts) > inserts)
    await everything_arrives_once(stage, load, faulty)
    for refused, again in pairwise(faulty.inserts):
        assert refused.became == "pass" or refused.token == again.token
        if refused.became.isdigit():  # with a Retry-After, longer than any pause here
            assert again.at - refused.at >= RETRY_AFTER_SECONDS


@pytest.mark.fault("F36")
async def test_a_sink_that_is_back_gets_rows_within_seconds_whatever_the_length_of_the_outage(
    at_sink: Settings, faulty: FaultySink, load: Load, started: Start
) -> None:
    stage = Worker(at_sink)
    await started(stage)
    load.produce(8)
    await until(lambda: load.is_confirmed(stage))
    faulty.close_port()
    load.produce(80)
    await until(lambda: "connection refused" in stage.waiting_on)
    await asyncio.sleep(OUTAGE_SECONDS)  # the fault itself
    before = len(faulty.inserts)
    faulty.open_port()
    opened = time.monotonic()
    await until(lambda: len(faulty.inserts) > before)
    assert faulty.inserts[before].at - opened < LONGEST_SECONDS_TO_NOTICE
    await everything_arrives_once(stage, load, faulty)


@pytest.mark.fault("F18")
async def test_a_sink_that_takes_a_request_and_never_answers_is_asked_again_and_blocks_nothing(
    at_sink: Settings, faulty: FaultySink, load: Load, started: Start
) -> None:
    faulty.plan = lambda number: "hang" if number < 2 else "pass"
    stage = Worker(at_sink, Writer(LateClient(at_sink, timeout=1.0), time.sleep, random.random, attempts=1))
    load.produce(40)
    await started(stage)
    await until(lambda: faulty.became["hang"] == 1)
    turns = 0
    while faulty.became["hang"] < 2:  # the loop turns while the thread waits for an answer
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 10
    await everything_arrives_once(stage, load, faulty)
    assert faulty.became["hang"] == 2
    assert len({insert.token for insert in faulty.inserts[:3]}) == 1


@pytest.mark.fault("F19")
async def test_rows_that_were_written_though_no_answer_came_are_not_doubled(
    at_sink: Settings, faulty: FaultySink, load: Load, started: Start
) -> None:
    faulty.plan = lambda number: "write, then drop" if number in (0, 1, 3) else "pass"
    stage = Worker(at_sink)
    load.produce(40)
    await started(stage)
    await until(lambda: len(faulty.inserts) >= 3)
    load.produce(40)
    await everything_arrives_once(stage, load, faulty)
    assert faulty.became["write, then drop"] == 3
    assert len({insert.token for insert in faulty.inserts[:3]}) == 1
    assert set(faulty.rows(final=False).values()) == {1}  # the token alone does it while the process lives
    for insert in faulty.inserts:  # whatever the server has for its default
        assert insert.token
        assert (insert.settings["async_insert"], insert.settings["insert_deduplicate"]) == ("0", "1")


@pytest.mark.fault("F20")
async def test_a_sink_that_is_away_longer_than_the_session_costs_no_membership(
    at_sink: Settings, faulty: FaultySink, load: Load, started: Start
) -> None:
    stage = Worker(at_sink.model_copy(update={"in_flight_mb": 1}))
    await started(stage)
    load.produce(8)
    await until(lambda: load.is_confirmed(stage))
    epoch = stage.consumer.epoch
    faulty.close_port()
    load.produce(300, summary="x" * 7_000)  # more than may be in flight: nothing is fetched any more
    await until(lambda: stage.waiting_on and stage.consumer.in_flight_bytes >= MEGABYTE)
    await asyncio.sleep(2 * at_sink.session_timeout_seconds)  # the fault itself
    assert stage.trouble() is None
    faulty.open_port()
    await everything_arrives_once(stage, load, faulty)
    assert stage.consumer.epoch == epoch


@pytest.mark.fault("F21")
async def test_a_slow_sink_pauses_reading_and_what_is_in_flight_stays_bounded(
    at_sink: Settings, faulty: FaultySink, load: Load, started: Start
) -> None:
    faulty.plan = lambda number: "slow 0.7" if number < 4 else "pass"
    stage = Worker(at_sink.model_copy(update={"in_flight_mb": 1}))
    load.produce(1_200, summary="x" * 7_000)  # 8.4 MB
    peak = paused = 0
    await started(stage)
    await until(lambda: stage.consumer.frontiers())
    while not load.is_confirmed(stage):
        in_flight = stage.consumer.in_flight_bytes
        peak, paused = max(peak, in_flight), paused + (in_flight >= MEGABYTE)
        await asyncio.sleep(0.01)
    assert faulty.became["slow 0.7"] >= 2
    assert paused
    assert peak < (1 + TRACES.partitions) * MEGABYTE  # the bound, and one fetch of each partition
    await everything_arrives_once(stage, load, faulty)


@pytest.mark.fault("F23")
async def test_a_column_that_is_missing_is_waited_for_and_no_row_is_blamed(
    kafka: Broker, at_sink: Settings, faulty: FaultySink, load: Load, started: Start
) -> None:
    stage = Worker(at_sink)
    await started(stage)
    load.produce(8)
    await until(lambda: load.is_confirmed(stage))
    faulty.client.command("ALTER TABLE agent_traces RENAME COLUMN tool_name TO tool")
    load.produce(40)
    await until(lambda: len(faulty.inserts) >= 4)
    assert "tool_name" in stage.waiting_on
    assert not load.is_confirmed(stage)
    faulty.client.command("ALTER TABLE agent_traces RENAME COLUMN tool TO tool_name")
    await everything_arrives_once(stage, load, faulty)
    assert kafka.values(DEAD_LETTERS.name) == []
