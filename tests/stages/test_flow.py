"""All stages in one loop on the embedded broker: nothing lost, nothing double, whatever stops in between."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline import topic_setup
from pipeline.app import Pipeline
from pipeline.backtest import Backtest
from pipeline.player import Message, Player, readers
from pipeline.recording import Recording
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.notify import Notify
from schemas.codecs.single import decode, decode_incident, encode_event
from schemas.errors import ConfigurationError, DependencyError, Outcome
from schemas.events import EVENTS
from schemas.topics import ALL, FACTS, INCIDENTS, TRACES
from tests.builders import metric, span
from tests.stages.conftest import Sink, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded


@pytest.fixture
def recording() -> Iterator[Recording]:
    """A minute of an agent that writes the same again and again, and a metric beside it; then a minute later again."""
    with Recording() as made:
        for number in range(120):
            second = number / 2 + (60 if number >= 60 else 0)
            rows = [
                span(
                    second,
                    span_id=f"span-{number}",
                    tool_name="write_hook",
                    tool_args='{"hook": "wp_head"}',
                    access="write",
                    target="site-12/wordpress/hook/wp_head",
                    input_tokens=1000,
                ),
                metric(second, 1.0),
            ]
            for row in rows:
                event = EVENTS[row.pop("type")].model_validate(row)
                made.add(event, encode_event(event), event.event_time)
        made.sort()
        yield made


def play(settings: Settings, messages: list[Message]) -> None:
    player = Player(
        settings.kafka_connection, pane=settings.pane, lateness=settings.lateness, readers=readers(settings.group)
    )
    player.play(messages)


@asynccontextmanager
async def running(settings: Settings, sink: Sink, **options: Any) -> AsyncIterator[Pipeline]:
    """All stages, with their partitions; stopped at the end whatever happens."""
    pipeline = Pipeline(settings, writer=lambda: sink, **options)
    try:
        await pipeline.start()
        await pipeline.ready()
        yield pipeline
    finally:
        await pipeline.stop(grace=5)


async def run_and_drain(settings: Settings, sink: Sink, messages: list[Message]) -> Pipeline:
    async with running(settings, sink) as pipeline:
        await asyncio.to_thread(play, settings, messages)
        await pipeline.drain(60)
        assert await pipeline.stop()
    return pipeline


async def test_a_restart_in_the_middle_loses_nothing_and_doubles_nothing(
    kafka: Broker, settings: Settings, sink: Sink, recording: Recording
) -> None:
    messages = list(recording.messages())
    half = len(messages) // 2
    await run_and_drain(settings, sink, messages[:half])
    pipeline = await run_and_drain(settings, sink, messages[half:])

    places = Counter((row["partition"], row["offset"]) for row in sink.rows["agent_traces"])
    assert len(places) == 120
    assert set(places.values()) == {1}
    assert len(sink.rows["system_metrics"]) == 120
    assert not any(row["late"] for row in sink.rows["agent_traces"])
    counts = pipeline.counters[TRACES.name]  # detect went on from its snapshots
    assert (counts[Outcome.ACCEPTED], counts[Outcome.LATE], counts[Outcome.REJECTED]) == (60, 0, 0)

    backtest = Backtest()
    for chunk in recording.chunks():
        backtest.read(chunk)
    backtest.finish()
    assert backtest.outcomes.incidents
    live = [decode_incident(value) for value in kafka.values(INCIDENTS.name)]
    assert {incident.incident_id for incident in live} == {i.incident_id for i in backtest.outcomes.incidents}
    facts = [decode(value)[1] for value in kafka.values(FACTS.name)]
    assert {(fact["kind"], fact["fact_id"]) for fact in facts} == {("incident", i.incident_id) for i in live if i.scope}
    usage = {(row["pane"], row["tool_name"]): row["calls"] for row in sink.rows["agent_usage"]}
    assert sum(usage.values()) == 120
    sent = {row["dedup_key"] for row in sink.rows["notifications"] if row["state"] == "sent"}
    assert len([row for row in sink.rows["notifications"] if row["state"] == "sent"]) == len(sent) > 0


async def test_a_sink_that_is_down_delays_no_page_and_loses_no_row(
    kafka: Broker, settings: Settings, sink: Sink, recording: Recording
) -> None:
    sink.is_down = True
    async with running(settings, sink) as pipeline:
        await asyncio.to_thread(play, settings, list(recording.messages()))
        notify, archive = pipeline.stages["notify"], pipeline.stages["archive"]
        assert isinstance(notify, Notify)
        await until(lambda: notify.sent > 0)
        await until(lambda: Counter(sink.tokens).most_common(1)[0][1] >= 2)  # the same rows with the same token
        assert archive.waiting_on == "ClickHouse is down"
        # the 120 rows are in one partition; ticks, of which there are fewer, are no rows and may be committed
        assert max(kafka.committed(settings.group("archive"), TRACES.name)) < 120
        assert not await pipeline.is_drained()
        sink.is_down = False
        await pipeline.drain(60)
        assert len(sink.rows["agent_traces"]) == 120
        assert archive.waiting_on == ""
        assert await pipeline.stop()


@pytest.mark.fault("F10")
async def test_a_broker_that_goes_away_for_a_while_costs_time_and_no_row(
    kafka: Broker, settings: Settings, sink: Sink, recording: Recording
) -> None:
    messages = list(recording.messages())
    half = len(messages) // 2
    async with running(settings, sink) as pipeline:
        await asyncio.to_thread(play, settings, messages[:half])
        kafka.set_down()
        down_until = asyncio.get_running_loop().time() + 2
        while asyncio.get_running_loop().time() < down_until:
            pipeline.check()
            await asyncio.sleep(0.05)
        kafka.set_up()
        await asyncio.to_thread(play, settings, messages[half:])
        await pipeline.drain(60)
        places = {(row["partition"], row["offset"]) for row in sink.rows["agent_traces"]}
        assert len(places) == 120
        assert await pipeline.stop()


async def test_a_stage_that_fails_is_named_and_the_others_stop_cleanly(
    kafka: Broker, settings: Settings, sink: Sink
) -> None:
    failures: list[str] = []
    async with running(settings, sink, on_failure=lambda error: failures.append(str(error))) as pipeline:
        kafka.produce(INCIDENTS.name, [b"not an incident"])
        await asyncio.wait_for(pipeline.failed.wait(), 20)
        assert len(failures) == 1
        assert "incidents.v1/0 at offset 0" in failures[0]
        with pytest.raises(StageError, match="Nothing was acknowledged"):
            await pipeline.drain(5)
    assert kafka.committed(settings.group("notify"), INCIDENTS.name)[0] == -1001
    assert kafka.committed(settings.group("record"), INCIDENTS.name)[0] == -1001


async def test_a_broker_that_is_not_there_is_said_at_the_start(
    settings: Settings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_setup, "TIMEOUT_SECONDS", 1.0)
    pipeline = Pipeline(settings.model_copy(update={"kafka": "127.0.0.1:1"}), ["detect"], writer=lambda: sink)
    with pytest.raises(DependencyError, match=r"127\.0\.0\.1:1 does not answer"):
        await pipeline.start()
    await pipeline.stop()


async def test_topics_with_other_partitions_are_listed_at_the_start(settings: Settings, sink: Sink) -> None:
    broker = Broker([topic for topic in ALL if topic.name not in (TRACES.name, INCIDENTS.name)])
    broker.create_topic(TRACES.name, 3)
    broker.create_topic(INCIDENTS.name, 1)
    pipeline = Pipeline(settings.model_copy(update={"kafka": broker.bootstrap}), ["detect"], writer=lambda: sink)
    with pytest.raises(ConfigurationError) as caught:
        await pipeline.start()
    await pipeline.stop()
    broker.close()
    assert "agent.traces.v1 has 3 partitions, not 4" in str(caught.value)
    assert "incidents.v1 has 1 partitions, not 4" in str(caught.value)


@pytest.mark.fault("F43")
async def test_a_rule_file_that_is_wrong_stops_the_start(settings: Settings, sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "broken.yml").write_text("id: broken\n")
    with pytest.raises(Exception, match=r"broken\.yml"):
        Pipeline(settings.model_copy(update={"rules_dir": tmp_path}), ["notify"], writer=lambda: sink)
