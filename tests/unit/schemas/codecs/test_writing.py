"""What we write of internal records is what fastavro would write, byte for byte."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import registry
from schemas.codecs import single
from schemas.codecs.writing import writer
from schemas.events import RECORD_TOPICS
from schemas.registry import Field
from schemas.signals import RECORDS

TEXT = st.text(max_size=20) | st.sampled_from(["a" * 63, "a" * 64, "ä" * 40, "b" * 5_000, "c" * 70_000])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "bytes": st.binary(max_size=20) | st.just(b"d" * 5_000),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100),
    "int": st.integers(-(2**31), 2**31 - 1),
    "double": st.floats(),
    "boolean": st.booleans(),
}
KINDS = sorted([*RECORDS, "reduced_row"])


def value_of(field: Field) -> st.SearchStrategy[Any]:
    return st.none() | VALUES[field.type] if field.is_nullable else VALUES[field.type]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_bytes_are_those_of_fastavro(kind: str, data: st.DataObject) -> None:
    schema = registry.newest(kind)
    values = {field.name: data.draw(value_of(field)) for field in schema.fields}
    assert writer(schema)(values.values()) == single.encode(kind, values)


@pytest.mark.parametrize("kind", sorted(RECORD_TOPICS))
@given(data=st.data())
def test_a_row_with_some_of_its_fields_in_any_order_is_what_fastavro_writes(kind: str, data: st.DataObject) -> None:
    fields = registry.newest(kind).fields
    said = [field for field in fields if field.is_required or data.draw(st.booleans())]
    row = {field.name: data.draw(value_of(field)) for field in data.draw(st.permutations(said))}
    assert single.encode_row(kind, row) == single.encode(kind, row)


def test_a_row_of_a_field_that_is_none_is_an_error() -> None:
    row = {"event_time": 5, "tenant": "acme", "resource": "r", "metric": "m", "value": 1.0}
    assert single.encode_row("metric_point", row) == single.encode("metric_point", row)
    with pytest.raises(ValueError, match="longer"):
        single.encode_row("metric_point", row | {"colour": "red"})


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [
        pytest.param(1, 2**63, ValueError, id="a number of more than 64 bits"),
        pytest.param(1, "5", TypeError, id="text for a number"),
        pytest.param(0, 5, AttributeError, id="a number for text"),
        pytest.param(0, None, TypeError, id="null where it may not be"),
        pytest.param(2, "\ud800", UnicodeEncodeError, id="half a character"),
    ],
)
def test_what_does_not_fit_is_an_error(place: int, value: Any, error: type[Exception]) -> None:
    values = ["agent.traces.v1/3", 5, "8f3a1c", b"row"]
    values[place] = value
    with pytest.raises(error):
        writer(registry.newest("reduced_row"))(values)


def test_a_value_too_few_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        writer(registry.newest("reduced_row"))(["agent.traces.v1/3", 5, "8f3a1c"])


def test_an_int_has_32_bits() -> None:
    schema = registry.newest("action")
    values = [None if field.is_nullable else field.default for field in schema.fields]
    given = {field.name: value for field, value in zip(schema.fields, values, strict=True)}
    given |= dict.fromkeys(("tenant", "trace_id", "span_id", "session_id", "agent_id", "operation"), "x")
    given |= {"access": "write", "status": "ok", "start_time": 1, "end_time": 2, "partition": 2**31}
    with pytest.raises(ValueError, match="32 bits"):
        writer(schema)(given.values())
