"""A batch becomes a frame; each bad message has its reason, and its neighbours stay."""

import json
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from schemas import registry
from schemas.codecs import TICK, Batch, Decoded, single
from schemas.codecs.blocks import ORIGIN, decode_batch, empty_frame, frame_of
from schemas.codecs.walk import KINDS, walk
from schemas.errors import Reason
from schemas.events import EVENTS, RECORD_TOPICS
from schemas.topics import MAX_MESSAGE_BYTES
from tests.builders import at, event, metric, span

SPAN = registry.newest("agent_span")


def fields_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "type"}


def avro(row: dict[str, Any]) -> bytes:
    return single.encode(row["type"], fields_of(row))


def as_json(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode()


def decode(values: Sequence[bytes | None], record: str = "agent_span", stamps: Sequence[int] | None = None) -> Decoded:
    offsets = range(100, 100 + len(values))
    stamps = stamps or [at(500)] * len(values)
    keys = [b"acme/session-1"] * len(values)
    return decode_batch(Batch(RECORD_TOPICS[record], 3, offsets, stamps, keys, values), record)


def refused(decoded: Decoded) -> list[tuple[int, Reason]]:
    return [(rejected.offset, rejected.reason) for rejected in decoded.rejected]


GOOD = [avro(span(n, step=n)) for n in range(4)]
PARENT = avro(span(0, parent_span_id="parent-1"))


def test_a_batch_of_avro_is_one_frame_in_offset_order() -> None:
    rows = [span(n, step=n, tool_args=json.dumps({"n": n}), summary="ä" * n, target=None) for n in range(1000)]
    decoded = decode([avro(row) for row in rows])
    assert decoded.rejected == ()
    assert decoded.ticks == 0
    assert decoded.frame.equals(frame_of("agent_span", rows, 3, range(100, 1100), [at(500)] * 1000))
    assert decoded.frame["offset"].to_list() == list(range(100, 1100))


@pytest.mark.parametrize("record", EVENTS)
def test_every_frame_has_the_columns_of_the_newest_schema_and_the_origin(record: str) -> None:
    columns = registry.newest(record).columns | ORIGIN
    assert dict(empty_frame(record).schema) == columns
    assert dict(decode([], record).frame.schema) == columns
    assert dict(decode([TICK, b"?"], record).frame.schema) == columns
    assert dict(frame_of(record, [], 0, [], []).schema) == columns


@pytest.mark.parametrize("record", EVENTS)
def test_a_row_with_every_field_filled_and_one_with_none_are_read_as_fastavro_reads_them(record: str) -> None:
    samples = {"string": "text", "long": at(1), "double": 0.5}
    closed = {"operation": "chat", "access": "read", "status": "ok", "approval": "granted", "severity": "normal"}
    closed |= {"kind": "gauge" if record == "metric_point" else "flag", "actor_kind": "agent"}
    times = ("event_time", "start_time", "published_time", "valid_from", "valid_until")
    full = {}
    for field in registry.newest(record).fields:
        value = closed.get(field.name, samples[field.type])
        full[field.name] = 79 if field.type == "long" and field.name not in times else value
    bare = {
        name: value
        for name, value in full.items()
        if not next(field for field in registry.newest(record).fields if field.name == name).is_nullable
    }
    values = [single.encode(record, row) for row in (full, bare, full)]
    decoded = decode(values, record)
    assert decoded.rejected == ()
    names = [field.name for field in registry.newest(record).fields]
    assert decoded.frame.select(names).to_dicts() == [single.decode(value)[1] for value in values]


def test_the_ingest_time_is_a_running_maximum_over_ticks_and_rejected_too() -> None:
    values = [GOOD[0], TICK, GOOD[1], b"?", GOOD[2]]
    decoded = decode(values, stamps=[at(1), at(5), at(2), at(9), at(3)])
    assert decoded.frame["ingest_time"].to_list() == [at(1), at(5), at(9)]
    assert decoded.rejected[0].ingest_time == at(9)
    assert decoded.newest_ingest_time == at(9)
    assert decode([]).newest_ingest_time == 0


def test_avro_json_and_ticks_mix_in_one_batch() -> None:
    values = [GOOD[0], as_json(span(1, step=1)), b' \n{"type":"tick"}', TICK, GOOD[2], as_json(span(3, step=3))]
    decoded = decode(values)
    assert decoded.rejected == ()
    assert decoded.ticks == 2
    assert decoded.frame["step"].to_list() == [0, 1, 2, 3]
    assert decoded.frame["offset"].to_list() == [100, 101, 104, 105]


def test_json_and_avro_of_one_event_are_one_row() -> None:
    row = event(1, "e1", "flag", "prod/shop/flag/x", value="on", labels='{"a":1}', valid_from=at(0))
    decoded = decode([avro(row), as_json(row)], "cluster_event")
    first, second = (decoded.frame[n].drop("offset") for n in (0, 1))
    assert first.equals(second)


BROKEN = [
    pytest.param(None, Reason.EMPTY, id="none"),
    pytest.param(b"", Reason.EMPTY, id="no bytes"),
    pytest.param(b" \n", Reason.EMPTY, id="white space"),
    pytest.param(b"\x00garbage", Reason.UNKNOWN_ENCODING, id="garbage"),
    pytest.param(b"\x99" * 5_000_000, Reason.TOO_LARGE, id="5 MB of garbage"),
    pytest.param(b"{" + b" " * MAX_MESSAGE_BYTES + b"}", Reason.TOO_LARGE, id="json too large"),
    pytest.param(b"\x99" * MAX_MESSAGE_BYTES, Reason.UNKNOWN_ENCODING, id="1 MB of garbage"),
    pytest.param(SPAN.header + b"\x99" * 990_000, Reason.MALFORMED, id="garbage behind a header"),
    pytest.param(b"\xc3\x01" + b"\x07" * 20, Reason.UNKNOWN_FINGERPRINT, id="unknown fingerprint"),
    pytest.param(b"\xc3\x01\x07", Reason.TRUNCATED, id="half a header"),
    pytest.param(SPAN.header, Reason.TRUNCATED, id="a header alone"),
    pytest.param(GOOD[1][:-1], Reason.TRUNCATED, id="last byte missing"),
    pytest.param(GOOD[1] + b"\0", Reason.TRAILING_BYTES, id="one byte more"),
    pytest.param(GOOD[1] + GOOD[1], Reason.TRAILING_BYTES, id="two messages in one"),
    pytest.param(GOOD[1] + GOOD[1][10:], Reason.TRAILING_BYTES, id="two records in one message"),
    pytest.param(PARENT.replace(b"\x10parent-1", b"\x80\x80\x80\x80\x80\x80\x01"), Reason.TRUNCATED, id="length 2^40"),
    pytest.param(PARENT.replace(b"\x10parent-1", b"\x0fparent-1"), Reason.MALFORMED, id="negative length"),
    pytest.param(PARENT.replace(b"\x02\x10parent-1", b"\x04\x10parent-1"), Reason.MALFORMED, id="branch 2"),
    pytest.param(PARENT.replace(b"\x02\x10parent-1", b"\x01\x10parent-1"), Reason.MALFORMED, id="branch -1"),
    pytest.param(PARENT.replace(b"parent-1", b"parent\xff1"), Reason.INVALID_UTF8, id="not utf-8"),
    pytest.param(avro(metric(0, 1.0)), Reason.WRONG_TYPE, id="another topic's event"),
    pytest.param(avro(span(0, event_time=0)), Reason.TIME_OUT_OF_RANGE, id="the year 1970"),
    pytest.param(avro(span(0, event_time=32_503_680_000_000_000)), Reason.TIME_OUT_OF_RANGE, id="the year 3000"),
    pytest.param(avro(span(0, start_time=1)), Reason.TIME_OUT_OF_RANGE, id="start in 1970"),
    pytest.param(avro(span(0, input_tokens=-1)), Reason.NEGATIVE_NUMBER, id="negative tokens"),
    pytest.param(avro(span(0, max_steps=0)), Reason.NEGATIVE_NUMBER, id="no steps"),
    pytest.param(avro(span(0, output_tokens=2**62)), Reason.WRONG_TYPE, id="too many tokens"),
    pytest.param(avro(span(0, operation="dance")), Reason.UNKNOWN_VALUE, id="unknown operation"),
    pytest.param(avro(span(0, approval="maybe")), Reason.UNKNOWN_VALUE, id="unknown approval"),
    pytest.param(avro(span(0, tenant="")), Reason.MISSING_FIELD, id="empty tenant"),
    pytest.param(avro(span(0, model="")), Reason.MISSING_FIELD, id="empty model"),
    pytest.param(avro(span(0, agent_id="a" * 513)), Reason.TEXT_TOO_LONG, id="long id"),
    pytest.param(avro(span(0, summary="a" * 65_537)), Reason.TEXT_TOO_LONG, id="long summary"),
    pytest.param(avro(span(0, attributes="[" * 33)), Reason.NESTED_TOO_DEEP, id="deep json in avro"),
    pytest.param(b"{", Reason.MALFORMED, id="half a json object"),
    pytest.param(b'{"tenant": "\xff"}', Reason.INVALID_UTF8, id="json not utf-8"),
    pytest.param(b'{"a":' + b"[" * 100_000, Reason.NESTED_TOO_DEEP, id="deep json"),
    pytest.param(as_json(span(0, type="metric_point")), Reason.WRONG_TYPE, id="json of another topic"),
    pytest.param(as_json(span(0, input_tokens="many")), Reason.WRONG_TYPE, id="text for a number"),
    pytest.param(as_json(span(0, attributes="[" * 33)), Reason.NESTED_TOO_DEEP, id="deep text in json"),
]


@pytest.mark.parametrize(("value", "reason"), BROKEN)
def test_a_bad_message_is_rejected_by_name_and_its_neighbours_are_kept(value: bytes | None, reason: Reason) -> None:
    decoded = decode([GOOD[0], GOOD[1], value, GOOD[2], as_json(span(3, step=3))])
    assert refused(decoded) == [(102, reason)]
    assert decoded.rejected[0].value == (value or b"")
    assert decoded.rejected[0].key == b"acme/session-1"
    assert len(decoded.rejected[0].detail) > 10
    assert decoded.frame["offset"].to_list() == [100, 101, 103, 104]
    assert decoded.frame["step"].to_list() == [0, 1, 2, 3]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_is_not_finite(number: float) -> None:
    values = [avro(metric(0, 0.5)), avro(metric(1, number)), as_json(metric(2, number)), avro(metric(3, 1.5))]
    decoded = decode(values, "metric_point")
    assert refused(decoded) == [(101, Reason.NOT_FINITE), (102, Reason.NOT_FINITE)]
    assert decoded.frame["value"].to_list() == [0.5, 1.5]


def test_bad_messages_anywhere_in_a_large_batch_cost_nobody_else() -> None:
    values = [avro(span(n, step=n)) for n in range(800)]
    places = {0, 1, 79, 400, 798, 799}
    for place in places:
        values[place] = values[place][:-1]
    decoded = decode(values)
    assert refused(decoded) == [(100 + place, Reason.TRUNCATED) for place in sorted(places)]
    assert decoded.frame["step"].to_list() == [n for n in range(800) if n not in places]


def test_a_batch_of_nothing_but_bad_messages_is_an_empty_frame() -> None:
    decoded = decode([b"?"] * 3)
    assert decoded.frame.height == 0
    assert refused(decoded) == [(offset, Reason.UNKNOWN_ENCODING) for offset in (100, 101, 102)]


def test_a_batch_of_nothing_but_wrong_values_is_an_empty_frame() -> None:
    decoded = decode([avro(span(0, event_time=0))] * 2)
    assert refused(decoded) == [(100, Reason.TIME_OUT_OF_RANGE), (101, Reason.TIME_OUT_OF_RANGE)]
    assert decoded.frame.equals(empty_frame("agent_span"))


def test_limits_hold_on_both_sides() -> None:
    rows = [
        span(0, agent_id="ä" * 512, summary="ä" * 65_536, attributes='"[[' + "[" * 40 + '"', max_steps=1),
        span(1, event_time=946_684_800_000_000, start_time=7_258_118_399_999_999),
        span(2, input_tokens=2**48 - 1, attributes="[" * 32),
    ]
    assert decode([avro(row) for row in rows]).rejected == ()
    assert decode([as_json(row) for row in rows]).rejected == ()


def test_a_message_that_swallows_its_neighbour_is_noticed() -> None:
    # two records in one message, the second with a last text as long as the next message: a reader that goes by the
    # bytes and not by the messages finds as many rows as there are messages, and nothing wrong
    messages = [avro(metric(n, 0.5, labels="l" * 79)) for n in range(4)]
    assert messages[2].endswith(b"\x9e\x01" + b"l" * 79)  # the length of the last field, and the field
    length = len(messages[3]) << 1
    swallowing = messages[2][: -2 - 79] + bytes([length & 0x7F | 0x80, length >> 7])
    hostile = [messages[0], messages[1] + swallowing, messages[3], messages[0]]
    schema = registry.newest("metric_point")
    walked = walk(hostile, schema)
    assert walked.left_out == [1]
    assert walked.frame["event_time"].to_list() == [at(0), at(3), at(0)]
    assert refused(decode(hostile, "metric_point")) == [(101, Reason.TRAILING_BYTES)]


def test_a_padded_number_is_read() -> None:
    padded = GOOD[0].replace(b"\x18execute_tool", b"\x98\x00execute_tool")
    branch = PARENT.replace(b"\x02\x10parent-1", b"\x82\x00\x10parent-1")
    assert padded != GOOD[0]
    assert branch != PARENT
    decoded = decode([GOOD[1], padded, GOOD[2], branch])
    assert decoded.rejected == ()
    assert decoded.frame["operation"].to_list() == ["execute_tool"] * 4
    assert decoded.frame["parent_span_id"].to_list() == [None, None, None, "parent-1"]


def test_a_good_batch_is_walked_as_one() -> None:
    walked = walk([*GOOD, PARENT], SPAN)
    assert walked.left_out == []
    assert walked.frame["step"].to_list() == [0, 1, 2, 3, None]
    assert walked.frame["parent_span_id"].to_list() == [None, None, None, None, "parent-1"]


def test_only_what_is_out_of_the_ordinary_is_left_out() -> None:
    values = [GOOD[0], None, b"", TICK, GOOD[1][:-1], PARENT, GOOD[2] + b"\0", b"\xc3\x01", GOOD[3]]
    walked = walk(values, SPAN)
    assert walked.left_out == [1, 2, 3, 4, 6, 7]
    assert walked.frame["step"].to_list() == [0, None, 3]


@pytest.mark.parametrize(
    "text", ["", "c", "chat\0", "cha", "chatt", "chat" + "\0" * 8, "execute_tool_", "Chat", "chät"]
)
def test_a_text_that_is_nearly_one_of_a_closed_set_is_refused_as_avro_and_as_json(text: str) -> None:
    rows = [span(n, operation=each) for n, each in enumerate(["chat", text, "execute_tool"])]
    for values in (
        [avro(row) for row in rows],
        [as_json(row) for row in rows],
        [avro(rows[0]), *map(as_json, rows[1:])],
    ):
        assert refused(decode(values)) == [(101, Reason.UNKNOWN_VALUE)]


@pytest.mark.parametrize("number", [0, 1, 63, 64, 127, 128, 8191, 8192, 2**20, 2**28, 2**40])
def test_numbers_of_all_widths_are_read_alone_and_beside_each_other(number: int) -> None:
    rows = [span(0, input_tokens=number), span(1, input_tokens=3), span(2, input_tokens=70), span(3, summary="a" * 100)]
    for chosen in (rows, rows[:1], rows[:2], rows[1:]):
        walked = walk([avro(row) for row in chosen], SPAN)
        assert walked.left_out == []
        assert walked.frame["input_tokens"].to_list() == [row.get("input_tokens", 0) for row in chosen]
        assert walked.frame["summary"].to_list() == [row.get("summary") for row in chosen]


@pytest.mark.parametrize("text", ["ä", "ä" * 6, "a" * 11 + "ä", "a" * 12 + "ä", "€" * 4, "😀" * 3, "😀" * 40])
def test_text_that_is_not_ascii_is_walked_too(text: str) -> None:
    rows = [span(0), span(1, summary=text, agent_id=text), span(2, tool_args='"a"')]
    walked = walk([*map(avro, rows), TICK], SPAN)
    assert walked.left_out == [3]
    assert walked.frame["summary"].to_list() == [None, text, None]
    assert walked.frame["agent_id"][1] == text
    for name, views in walked.text_views.items():
        assert views[:, 0].tolist() == walked.frame[name].str.len_bytes().fill_null(0).to_list()


def test_text_that_is_not_utf_8_is_left_out_wherever_it_stands() -> None:
    broken = PARENT.replace(b"parent-1", b"parent\xff1")
    halves = [avro(span(0, parent_span_id="ab", tool_args="cd"))]
    halves[0] = halves[0].replace(b"\x04ab", b"\x04a\xc3")  # half a letter, at the end of a field
    walked = walk([GOOD[0], broken, *halves, PARENT], SPAN)
    assert walked.left_out == [1, 2]
    assert walked.frame["parent_span_id"].to_list() == [None, "parent-1"]


@pytest.mark.parametrize(
    "tokens", [0, 63, 64, 8191, 8192, 2**20 - 1, 2**20, 2**34, 2**48, 2**55 - 1, -1, -64, -65, -(2**48), -(2**55)]
)
def test_numbers_of_up_to_eight_bytes_are_walked(tokens: int) -> None:
    values = [avro(span(0, input_tokens=tokens)), avro(span(1, input_tokens=0)), avro(span(2, step=tokens))]
    walked = walk(values, SPAN)
    assert walked.left_out == []
    assert walked.frame["input_tokens"].to_list() == [tokens, 0, 0]
    assert walked.frame["step"].to_list() == [None, None, tokens]


@pytest.mark.parametrize("tokens", [2**55, 2**62, 2**63 - 1, -(2**55) - 1, -(2**63)])
def test_longer_numbers_are_left_out(tokens: int) -> None:
    walked = walk([GOOD[0], avro(span(0, input_tokens=tokens)), GOOD[1]], SPAN)
    assert walked.left_out == [1]
    assert walked.frame["step"].to_list() == [0, 1]


@pytest.mark.parametrize("length", [0, 1, 11, 12, 13, 63, 64, 8191, 8192, 60_000])
def test_texts_of_every_length_are_walked(length: int) -> None:
    values = [avro(span(0, summary="a" * length, tenant="b" * length)), avro(span(1)), avro(span(2, summary="c"))]
    walked = walk(values, SPAN)
    assert walked.left_out == []
    assert walked.frame["summary"].to_list() == ["a" * length, None, "c"]
    assert walked.frame["tenant"][0] == "b" * length


@pytest.mark.parametrize("record", EVENTS)
def test_every_event_is_of_what_can_be_walked(record: str) -> None:
    assert {field.type for schema in registry.versions(record) for field in schema.fields} <= KINDS


def test_frames_of_batches_can_be_put_together() -> None:
    frames = [decode(GOOD).frame, decode([as_json(span(9))]).frame, decode([]).frame, decode([GOOD[0], b"?"]).frame]
    assert pl.concat(frames).height == 6
