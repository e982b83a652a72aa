"""Spans that are read together are those that are read one by one, whatever stands in them.

Reading one by one is protobuf and dicts, and has tests of its own; so it is the oracle here.
"""

from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from bench.ingest_speed import batch
from pipeline.core.limits import Limit, Limits, Match
from pipeline.ingest import span_reading
from pipeline.ingest.messages import Mapped, Reader, key_of, span_keys
from pipeline.ingest.names import CONTENT, FIELDS, KINDS
from pipeline.ingest.span_table import rows_of
from pipeline.ingest.span_walk import shapes
from schemas.codecs.single import encode_columns, encode_row
from schemas.topics import MAX_MESSAGE_BYTES, OTLP_LOGS, OTLP_SPANS
from tests.conformance.dialects_as_otlp import otlp
from tests.conformance.dialects_as_otlp import traces as dialects
from tests.otlp import as_json, logs, otel_span, traces

NAMES = [
    *sorted({name for names in FIELDS.values() for name in names} | set(KINDS) | CONTENT),
    *("aftermath.access", "aftermath.target", "aftermath.tenant", "mcp.tool.annotations.read_only_hint", "x"),
    *("traceloop.entity.name", "gen_ai.data_source.id", "scope", "50%", "gen_ai.conversation.compacted", "ü" * 70, ""),
]
TEXTS = st.text(max_size=5) | st.sampled_from(
    ['{"usage":{"prompt_tokens":8}}', '{"b":1,"a":[2]}', "resp_1", "datastore", "7", '"', "\n", "é", "x" * 600, ""]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300) | st.floats() | TEXTS | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "n"]), inner, max_size=2),
    max_leaves=3,
)  # fmt: skip
KIND = st.sampled_from([(name, kind) for name, kinds in KINDS.items() for kind in kinds])
PLAIN = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ticket.read", "gen_ai.tool.call.arguments": "{}"}


@pytest.fixture(autouse=True)
def _together_from_one_span_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_reading, "FEWEST_TOGETHER", 1)
    monkeypatch.setattr(span_reading, "FEWEST_ALIKE", 1)


def check(values: list[bytes | None], limits: Limits | None = None, topic: str = OTLP_SPANS.name) -> list[Mapped]:
    """Both ways, compared: rows, reasons, counts, messages and keys."""
    reader = Reader(limits)
    alone = [reader.read(topic, value) for value in values]
    together, columns = reader.read_all(topic, values)
    rows = iter(rows_of(columns))
    for one, other in zip(alone, together, strict=True):
        found = other.events or [("agent_span", next(rows)) for _ in range(other.rows)]
        assert repr(found) == repr(one.events)  # not a number is none that it equals, and True is no 1
        told = (other.reason, other.detail, other.is_rejected, other.unwanted)
        assert told == (one.reason, one.detail, one.is_rejected, one.unwanted)
    assert next(rows, None) is None
    if columns:
        found = rows_of(columns)
        assert encode_columns("agent_span", columns) == [encode_row("agent_span", row) for row in found]
        assert span_keys(columns) == [key_of("agent_span", row).encode() for row in found]
    return together


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Spans of two shapes, whose values differ from span to span as much as they like."""
    made = []
    forms = draw(st.lists(st.lists(st.sampled_from(NAMES), max_size=6, unique=True), min_size=1, max_size=2))
    for number in range(draw(st.integers(1, 6))):
        names = draw(st.sampled_from(forms))
        attributes = {name: draw(VALUES) for name in names}
        if draw(st.booleans()):
            name, kind = draw(KIND)
            attributes[name] = kind
        span = otel_span(
            draw(st.sampled_from([1, 2, -(10**9)])), draw(st.sampled_from([number, number, 1])),
            parent=draw(st.none() | st.integers(0, 6)), attributes=attributes, name=draw(TEXTS),
        )  # fmt: skip
        span |= draw(st.sampled_from([{}, {}, {}, {"error": "no"}, {"error": ""}, {"exception": "TimeoutError"}]))
        made.append(span)
    resource = draw(st.sampled_from([{}, {"service.name": "é"}, {"aftermath.tenant": "t"}, {"aftermath.max_steps": 3}]))
    return traces(made, resource)


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.lists(messages(), min_size=1, max_size=3), st.data())
def test_any_spans(values: list[bytes], data: st.DataObject) -> None:
    check(list(values))
    place = data.draw(st.integers(0, len(values) - 1))
    changed = bytearray(values[place])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    check([*values[:place], bytes(changed[: data.draw(st.integers(0, len(changed)))]), *values[place:]])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_bytes_of_a_span_that_is_nearly_plain(data: st.DataObject) -> None:
    value = bytearray(traces([otel_span(1, number, parent=3, attributes=PLAIN) for number in (1, 2)]))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(len(value) // 2, len(value) - 1))] = data.draw(st.integers(0, 255))
    check([bytes(value), traces([otel_span(1, 1, attributes=PLAIN)])])


@pytest.mark.parametrize("dialect", dialects())
def test_every_recorded_dialect(dialect: str) -> None:
    value = otlp(dialects()[dialect])
    check([value, value])


def test_spans_as_instrumentations_write_them_are_all_read_together() -> None:
    values = [batch(Random(seed)) for seed in range(2)]
    check(list(values))
    bare = [
        span.SerializeToString()
        for value in values
        for scope in TracesData.FromString(value).resource_spans[0].scope_spans
        for span in scope.spans
    ]
    groups, left = shapes(bare)
    assert sorted(row for alike in groups for row in alike.rows.tolist()) == list(range(len(bare)))
    assert (len(groups), left) == (3, [])


def test_what_limits_state_of_a_tool() -> None:
    limits = Limits(limits=(Limit(match=Match(tool_name="ticket.*"), access="destructive"),))
    spans = [otel_span(1, 1, attributes=PLAIN), otel_span(1, 2, attributes=PLAIN | {"gen_ai.tool.name": "other"})]
    check([traces(spans)], limits)


def test_attributes_that_are_too_much_are_cut_alike() -> None:
    many = {f"x{number}": "y" * 900 for number in range(30)}
    check([traces([otel_span(1, number, attributes=PLAIN | {"a": "z" * 20_000} | many) for number in (1, 2)])])


def test_more_attributes_than_are_walked_and_values_of_every_size() -> None:
    sizes = [{f"x{number}": number for number in range(70)}] + [
        {"x": "y" * size} for size in (125, 126, 127, 128, 16_381, 16_390)
    ]
    numbers = [{"x": sign * 2**bits + by} for bits in range(0, 63, 7) for by in (-1, 0, 1) for sign in (1, -1)]
    check([traces([otel_span(1, at, attributes=PLAIN | more) for at, more in enumerate(sizes + numbers, 1)])])


def test_messages_that_are_no_plain_protobuf_are_read_alone_in_between() -> None:
    value = traces([otel_span(1, 1, attributes=PLAIN), otel_span(2, 2, attributes={"http.request.method": "GET"})])
    bad_span = TracesData.FromString(value)
    bad_span.resource_spans[0].scope_spans[0].spans[0].span_id = b"\1"
    json = orjson.dumps(as_json(TracesData.FromString(value)))
    broken = value.replace(b"ticket.read", b"ticket\xff\xfead")  # no UTF-8: the span goes, not its message
    no_span = value.replace(b"\x2a\x04span", b"\x2a\x04sp\xff\xfe")  # nor is its name: then all of it goes
    every: list[bytes | None] = [
        None,
        b"",
        value,
        json,
        bad_span.SerializeToString(),
        broken,
        no_span,
        b"{",
        b"\xff" * 9,
        value,
    ]
    together = check([*every, b"x" * (MAX_MESSAGE_BYTES + 1)])
    assert [mapped.rows for mapped in together] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    assert [bool(mapped.events) for mapped in together] == [False, False, False, True] + [False] * 7


def test_other_signals_are_read_one_by_one() -> None:
    check([logs(({"kind": "x"}, {})), b"x"], topic=OTLP_LOGS.name)
