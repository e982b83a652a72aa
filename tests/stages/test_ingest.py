"""ingest on a broker: OTLP in, our three topics out, in order, and dead letters for what is none."""

import asyncio

import pytest

from pipeline.app import Pipeline
from pipeline.core.limits import Limits
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.ingest import Ingest
from schemas.codecs.single import decode
from schemas.errors import ConfigurationError, Outcome
from schemas.topics import DEAD_LETTERS, EVENTS, METRICS, OTLP_LOGS, OTLP_METRICS, OTLP_SPANS, TRACES
from tests.otlp import logs, otel_span, traces
from tests.stages.conftest import Sink, Start, until
from tests.stages.kafka import Broker
from tests.unit.pipeline.ingest.test_cluster_events import CORE
from tests.unit.pipeline.ingest.test_metrics import message, number

pytestmark = pytest.mark.embedded
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ticket.read", "session.id": "session_1"}
GARBAGE = b"\xff\xfe no OTLP"


def a_stage(settings: Settings) -> tuple[Ingest, list[StageError]]:
    errors: list[StageError] = []
    return Ingest(settings, errors.append, limits=Limits()), errors


def batch(*numbers: int) -> bytes:
    return traces([otel_span(number, number, attributes=TOOL) for number in numbers])


async def test_spans_come_out_in_the_order_of_their_session_and_bad_messages_alone(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    kafka.produce(OTLP_SPANS.name, [batch(1, 2), GARBAGE, batch(3), traces([otel_span(4, 4)])], partition=2)
    stage, errors = a_stage(settings)
    await started(stage)
    await until(lambda: stage.progress.confirmed >= 1 and stage.progress.messages == 4)
    assert await stage.stop()
    assert not errors
    spans = [decode(value)[1] for value in kafka.values(TRACES.name)]
    assert [int(span["span_id"], 16) for span in spans] == [1, 2, 3]
    assert len([number for number in range(TRACES.partitions) if kafka.records(TRACES.name, number)]) == 1
    (letter,) = [decode(value)[1] for value in kafka.values(DEAD_LETTERS.name)]
    assert (letter["topic"], letter["partition"], letter["offset"]) == (OTLP_SPANS.name, 2, 1)
    assert (letter["stage"], letter["value"]) == ("ingest", GARBAGE)
    counts = stage.counters[OTLP_SPANS.name]
    assert (counts[Outcome.ACCEPTED], counts[Outcome.REJECTED], counts[Outcome.DROPPED]) == (2, 1, 1)
    assert kafka.committed(settings.group("ingest"), OTLP_SPANS.name)[2] == 4


async def test_sessions_that_come_between_each_other_keep_their_order_over_many_reads(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    """Three sessions take turns in 40 messages, which come while the stage reads: each stays in one order."""

    def turn(number: int) -> bytes:
        said = [TOOL | {"session.id": f"session_{(number + place) % 3}"} for place in range(3)]
        return traces([otel_span(number, 3 * number + place, attributes=one) for place, one in enumerate(said, 1)])

    stage, errors = a_stage(settings)
    await started(stage)
    for at in range(40):
        await asyncio.to_thread(kafka.produce, OTLP_SPANS.name, [turn(at)], 2)
    await until(lambda: stage.progress.messages == 40 and stage.progress.confirmed == stage.progress.elements)
    assert await stage.stop()
    assert not errors
    assert stage.progress.elements > 3  # so that several were on their way at once
    for session in range(3):
        places = [
            [int(span["span_id"], 16) for span in found if span["session_id"] == f"session_{session}"]
            for number in range(TRACES.partitions)
            for found in [[decode(value)[1] for value, _ in kafka.records(TRACES.name, number) if value]]
        ]
        (order,) = [found for found in places if found]  # one partition has them all
        assert len(order) == 40
        assert order == sorted(order)


async def test_metrics_and_logs_go_to_their_topics(kafka: Broker, settings: Settings, started: Start) -> None:
    kafka.produce(OTLP_METRICS.name, [message(number(1, 79, kind="gauge"))])
    kafka.produce(OTLP_LOGS.name, [logs((CORE, {}))])
    stage, errors = a_stage(settings.model_copy(update={"tenant": "acme"}))
    await started(stage)
    await until(lambda: stage.progress.confirmed == 2)
    assert await stage.stop()
    assert not errors
    ((_, point),) = [decode(value) for value in kafka.values(METRICS.name)]
    ((_, event),) = [decode(value) for value in kafka.values(EVENTS.name)]
    assert (point["value"], event["reason"]) == (79.0, "BackOff")
    assert (point["tenant"], event["tenant"]) == ("acme", "acme")


async def test_what_is_read_again_after_a_stop_is_only_what_was_not_confirmed(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    for numbers in ((1, 2), (3,)):
        kafka.produce(OTLP_SPANS.name, [batch(*numbers)])
        stage, errors = a_stage(settings)
        await started(stage)
        await until(lambda stage=stage: stage.progress.confirmed == 1)
        assert await stage.stop()
        assert not errors
    assert [int(decode(value)[1]["span_id"], 16) for value in kafka.values(TRACES.name)] == [1, 2, 3]


async def test_too_many_bad_messages_stop_it_and_nothing_of_them_is_committed(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    kafka.produce(OTLP_SPANS.name, [GARBAGE] * 101)
    stage, errors = a_stage(settings)
    await started(stage)
    await until(lambda: errors)
    await stage.stop()
    assert "more than 100 messages in a row cannot be read" in str(errors[0])
    assert kafka.committed(settings.group("ingest"), OTLP_SPANS.name)[0] in (0, -1001)


async def test_it_has_nothing_to_do_with_a_recording(kafka: Broker, settings: Settings, sink: Sink) -> None:
    assert settings.recorded
    pipeline = Pipeline(settings, writer=lambda: sink)
    assert "ingest" not in pipeline.stages
    assert len(pipeline.stages) == len(settings.stages) - 1
    with pytest.raises(ConfigurationError, match="unset AFTERMATH_RECORDED"):
        Pipeline(settings, ["ingest"], writer=lambda: sink)
