"""JSON messages: what is refused and by which name; why polars does not read them."""

import io
import json
from typing import Any

import polars as pl
import pytest

from schemas.codecs import json_events
from schemas.codecs.single import UnreadableError
from schemas.errors import Reason
from tests.builders import at, metric, span


def decode(row: Any, record: str = "agent_span") -> json_events.AnyEvent | None:
    return json_events.decode(row if isinstance(row, bytes) else json.dumps(row).encode(), record)


def without(name: str) -> dict[str, Any]:
    return {field: value for field, value in span(0).items() if field != name}


def test_type_may_be_left_out_and_ingest_time_is_the_brokers() -> None:
    row = without("type") | {"ingest_time": "whenever"}
    found = decode(row)
    assert found is not None
    assert found.event_time == at(0)


def test_a_tick_is_no_event() -> None:
    assert decode(b'{"type": "tick"}') is None


def test_an_object_in_a_json_column_becomes_its_text() -> None:
    found = decode(span(0, attributes={"b": [1, 2]}))
    assert found is not None
    assert found.attributes == '{"b":[1,2]}'  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"{", Reason.MALFORMED),
        (b'{"a": 1} {"a": 2}', Reason.MALFORMED),
        (b'{"tenant": "\\ud800"}', Reason.MALFORMED),
        (b'{"tenant": "\xc3"}', Reason.INVALID_UTF8),
        (b'{"input_tokens": NaN}', Reason.NOT_FINITE),
        (b'{"attributes": {"deep": [Infinity]}}', Reason.NOT_FINITE),
        (b'{"input_tokens": -1e999}', Reason.NOT_FINITE),
        (b'{"a":' + b'{"a":' * 40 + b"1" + b"}" * 41, Reason.NESTED_TOO_DEEP),
        (without("tenant"), Reason.MISSING_FIELD),
        (span(0, tenant=""), Reason.MISSING_FIELD),
        (span(0, tenant=None), Reason.WRONG_TYPE),
        (span(0, tenant=79), Reason.WRONG_TYPE),
        (span(0, tenant="a" * 513), Reason.TEXT_TOO_LONG),
        (span(0, tennant="acme"), Reason.UNKNOWN_FIELD),
        (span(0, operation="dance"), Reason.UNKNOWN_VALUE),
        (span(0, operation=79), Reason.UNKNOWN_VALUE),
        (span(0, status=None), Reason.WRONG_TYPE),
        (span(0, input_tokens="5"), Reason.WRONG_TYPE),
        (span(0, input_tokens=5.0), Reason.WRONG_TYPE),
        (span(0, input_tokens=True), Reason.WRONG_TYPE),
        (span(0, input_tokens=[5]), Reason.WRONG_TYPE),
        (span(0, input_tokens=10**30), Reason.WRONG_TYPE),
        (span(0, input_tokens=2**48), Reason.WRONG_TYPE),
        (span(0, input_tokens=-1), Reason.NEGATIVE_NUMBER),
        (span(0, attempt=0), Reason.NEGATIVE_NUMBER),
        (span(0, summary=["a"] * 40_000), Reason.TEXT_TOO_LONG),
        (span(0, event_time="1970-01-01T00:00:00Z"), Reason.TIME_OUT_OF_RANGE),
        (span(0, event_time="3000-01-01T00:00:00Z"), Reason.TIME_OUT_OF_RANGE),
        (span(0, start_time=0), Reason.TIME_OUT_OF_RANGE),
        (span(0, event_time="2026-03-02T14:00:00"), Reason.WRONG_TYPE),
        (span(0, event_time="soon"), Reason.WRONG_TYPE),
        (span(0, event_time=None), Reason.WRONG_TYPE),
        (span(0, event_time=1.5), Reason.WRONG_TYPE),
        (span(0, event_time={"at": 1}), Reason.WRONG_TYPE),
        (span(0, context_facts="[" * 33), Reason.NESTED_TOO_DEEP),
        (span(0, type="cluster_event"), Reason.WRONG_TYPE),
        (span(0, type=None), Reason.WRONG_TYPE),
    ],
)
def test_what_is_wrong_has_a_name(row: Any, reason: Reason) -> None:
    with pytest.raises(UnreadableError) as caught:
        decode(row)
    assert caught.value.reason == reason


@pytest.mark.parametrize("value", ["5", True, None, [1.5]])
def test_a_metric_has_a_number(value: Any) -> None:
    with pytest.raises(UnreadableError) as caught:
        decode(metric(0, value), "metric_point")
    assert caught.value.reason == Reason.WRONG_TYPE


def test_a_detail_names_the_field_and_what_it_may_be() -> None:
    with pytest.raises(UnreadableError, match="approval: must be one of not_required, requested, granted, denied"):
        decode(span(0, approval="maybe"))


@pytest.mark.parametrize(
    ("text", "is_json"), [(b"{", True), (b" \r\n\t{}", True), (b"[{}]", False), (b"", False), (b"\xc3\x01{", False)]
)
def test_a_message_is_json_by_its_first_byte(text: bytes, is_json: bool) -> None:
    assert json_events.is_json(text) is is_json


def test_polars_would_lose_fields_and_turn_numbers_into_text() -> None:
    # why json_events does not use it; when this fails, look again
    lines = b'{"name": 79, "misspelt": 1}\n{"name": {"a": 1}}\n'
    assert pl.read_ndjson(io.BytesIO(lines), schema={"name": pl.String}).to_dicts() == [
        {"name": "79"},
        {"name": '{"a": 1}'},
    ]
