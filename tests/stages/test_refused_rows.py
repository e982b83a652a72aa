"""A row that its table can never take is a dead letter; it stops nobody and is told of once."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from alerts.rules.samples import sample_incident
from pipeline.core.panes import TimeRules
from pipeline.settings import Settings
from pipeline.stages.archive import Archive
from pipeline.stages.base import StageError
from pipeline.stages.record import Record
from schemas.codecs.single import decode, encode_event, encode_incident
from schemas.errors import Reason, Rejected
from schemas.events import EVENTS
from schemas.topics import DEAD_LETTERS, INCIDENTS, TRACES
from sinks.clickhouse.writer import RejectedRow
from sinks.dead_letters import dead_letter_message
from tests.builders import at, span
from tests.stages.conftest import Sink, Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
WHY = "Code: 53. A value does not fit"


class Choosy(Sink):
    """Takes every row but some."""

    def __init__(self, refuses: Callable[[str, dict[str, Any]], bool]) -> None:
        super().__init__()
        self._refuses = refuses

    def write(self, table: str, frame: pl.DataFrame, token: str) -> list[Any]:
        rows = frame.to_dicts()
        self.rows[table] += [row for row in rows if not self._refuses(table, row)]
        return [RejectedRow(table, row, 53, WHY) for row in rows if self._refuses(table, row)]


def a_span(name: str) -> bytes:
    fields = {key: value for key, value in span(1, span_id=name).items() if key != "type"}
    return encode_event(EVENTS["agent_span"].model_validate(fields))


def letters(kafka: Broker) -> list[dict[str, Any]]:
    return [dict(decode(value)[1]) for value in kafka.values(DEAD_LETTERS.name)]


@pytest.mark.fault("F22")
async def test_of_a_raw_row_the_message_is_kept_as_it_came_and_its_neighbours_are_written(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    errors: list[StageError] = []
    sink = Choosy(lambda _, row: row["span_id"] == "bad")
    values = [a_span("good-1"), a_span("bad"), a_span("good-2")]
    kafka.produce(TRACES.name, values, partition=2, stamp=at(2) // 1000)
    stage = Archive(settings, errors.append, writer=sink, rules=TimeRules())
    await started(stage)
    await until(lambda: kafka.committed(settings.group("archive"), TRACES.name)[2] == 3)
    assert await stage.stop()
    assert not errors
    assert [row["span_id"] for row in sink.rows["agent_traces"]] == ["good-1", "good-2"]
    assert (stage.rows_written["agent_traces"], stage.rows_refused["agent_traces"]) == (2, 1)
    (letter,) = letters(kafka)
    assert (letter["topic"], letter["partition"], letter["offset"]) == (TRACES.name, 2, 1)
    assert (letter["stage"], letter["value"], letter["ingest_time"]) == ("archive", values[1], at(2))
    assert letter["detail"] == f"ClickHouse does not take its row in agent_traces: {WHY}"


async def test_where_a_message_makes_rows_of_several_tables_the_one_that_is_refused_is_kept(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    errors: list[StageError] = []
    sink = Choosy(lambda table, row: table == "incidents" and row["incident_id"] == "b")
    incidents = [sample_incident({"incident_id": name, "tenant": "acme"}) for name in "abc"]
    kafka.produce(INCIDENTS.name, [encode_incident(incident) for incident in incidents])
    stage = Record(settings, errors.append, writer=sink)
    await started(stage)
    await until(lambda: kafka.committed(settings.group("record"), INCIDENTS.name)[0] == 3)
    await until(lambda: kafka.committed(settings.group("record"), DEAD_LETTERS.name)[0] == 1)
    assert await stage.stop()
    assert not errors
    assert [row["incident_id"] for row in sink.rows["incidents"]] == ["a", "c"]
    assert [row["incident_id"] for row in sink.rows["incident_revisions"]] == ["a", "b", "c"]
    (letter,) = letters(kafka)
    assert (letter["topic"], letter["partition"], letter["stage"]) == (INCIDENTS.name, 0, "record")
    assert b'"incident_id":"b"' in letter["value"]
    assert [row["stage"] for row in sink.rows["dead_letters"]] == ["record"]


async def test_a_dead_letter_that_is_refused_makes_no_other(kafka: Broker, settings: Settings, started: Start) -> None:
    errors: list[StageError] = []
    letter = dead_letter_message(Rejected(7, Reason.MALFORMED, "", b"x"), TRACES.name, 0, "detect")
    kafka.produce(DEAD_LETTERS.name, [letter])
    stage = Record(settings, errors.append, writer=Choosy(lambda table, _: table == "dead_letters"))
    await started(stage)
    await until(lambda: kafka.committed(settings.group("record"), DEAD_LETTERS.name)[0] == 1)
    assert await stage.stop()
    assert not errors
    assert stage.rows_refused["dead_letters"] == 1
    assert len(kafka.values(DEAD_LETTERS.name)) == 1
