"""The models and dataclasses say in Python what schemas/avro says in Avro."""

import dataclasses
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args, get_type_hints

import pydantic
import pytest

from schemas import events, registry
from schemas.events import EVENTS, AgentSpan, MetricPoint
from schemas.incidents import NESTED_FIELDS, Incident
from schemas.signals import RECORDS
from schemas.times import parse_time
from tests.builders import at, metric, span

PYTHON_TYPES = {"string": str, "long": int, "int": int, "double": float, "boolean": bool, "bytes": bytes}


def shape(schema: registry.Schema) -> dict[str, tuple[Any, bool, Any]]:
    return {f.name: (PYTHON_TYPES[f.type], f.is_nullable, "-" if f.is_required else f.default) for f in schema.fields}


def split(annotation: Any) -> tuple[Any, bool]:
    """(type, whether it may be None) of an annotation."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return (kinds[0], True) if kinds else (annotation, False)


@pytest.mark.parametrize("record", EVENTS)
def test_the_models_of_events_equal_their_schemas(record: str) -> None:
    model = EVENTS[record]
    hints = get_type_hints(model)
    found = {}
    for name, field in model.model_fields.items():
        kind, is_nullable = split(hints[name])
        default = "-" if field.is_required() else field.default
        found[name] = (kind, is_nullable, default)
    assert list(found) == [field.name for field in registry.newest(record).fields]
    assert found == shape(registry.newest(record))


@pytest.mark.parametrize("record", RECORDS)
def test_the_internal_records_equal_their_schemas(record: str) -> None:
    kind = RECORDS[record]
    hints = get_type_hints(kind)
    found = {field.name: split(hints[field.name]) for field in dataclasses.fields(kind)}
    assert found == {name: (kind, nullable) for name, (kind, nullable, _) in shape(registry.newest(record)).items()}


def test_the_incident_equals_its_schema() -> None:
    assert list(Incident.model_fields) == [field.name for field in registry.newest("incident").fields]
    assert set(NESTED_FIELDS) <= set(Incident.model_fields)


@pytest.mark.parametrize("record", EVENTS)
def test_every_limit_names_a_field_there_is(record: str) -> None:
    names = {field.name for field in registry.newest(record).fields}
    named = {*events.CLOSED_SETS[record], *events.TIME_COLUMNS[record], *events.LEAST[record]}
    assert named | set(events.JSON_COLUMNS[record]) <= names


@pytest.mark.parametrize("record", EVENTS)
def test_every_number_has_a_limit(record: str) -> None:
    longs = {field.name for field in registry.newest(record).fields if field.type == "long"}
    assert longs == {*events.TIME_COLUMNS[record], *events.LEAST[record]}


@pytest.mark.parametrize("value", [None, 1.5, [1], {}, True, "yesterday", "2026-03-02", "2026-03-02T14:00:00"])
def test_what_is_no_time_is_refused_and_does_not_crash(value: Any) -> None:
    with pytest.raises(pydantic.ValidationError):
        MetricPoint.model_validate(fields_of(metric(0, 1.0, event_time=value)))


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-02T14:00:00Z",
        "2026-03-02T15:00:00+01:00",
        datetime(2026, 3, 2, 14, tzinfo=UTC),
        datetime(2026, 3, 2, 16, tzinfo=timezone(timedelta(hours=2))),
        parse_time("2026-03-02T14:00:00Z"),
    ],
)
def test_a_time_is_microseconds_whichever_way_it_was_written(value: Any) -> None:
    assert MetricPoint.model_validate(fields_of(metric(9, 1.0, event_time=value))).event_time == at(0)


@pytest.mark.parametrize("value", ["1.5", "nan", True, None, float("nan"), float("inf")])
def test_what_is_no_number_is_no_value_of_a_metric(value: Any) -> None:
    with pytest.raises(pydantic.ValidationError):
        MetricPoint.model_validate(fields_of(metric(0, value)))


def test_a_whole_number_is_a_value_of_a_metric() -> None:
    assert MetricPoint.model_validate(fields_of(metric(0, 79))).value == 79.0


@pytest.mark.parametrize(("tokens", "is_good"), [(0, True), (2**48 - 1, True), (2**48, False), (-1, False)])
def test_counts_stay_where_their_sums_fit(tokens: int, is_good: bool) -> None:
    row = fields_of(span(0, input_tokens=tokens))
    if is_good:
        assert AgentSpan.model_validate(row).input_tokens == tokens
    else:
        with pytest.raises(pydantic.ValidationError):
            AgentSpan.model_validate(row)


def fields_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "type"}
