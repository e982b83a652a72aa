"""A batch that is walked as columns holds what aiokafka reads in it, and what is no plain batch is left to aiokafka."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.frontier import Element, joined
from pipeline.inflating import HEADER_ENDS
from pipeline.record_batches import BatchStart, Columns, Inflated, Record, Records, walk_batches
from schemas.codecs.blocks import decode_batch
from tests.unit.schemas.codecs.test_blocks import GOOD

Item = tuple[int, bytes | None, bytes | None]
ITEMS = st.tuples(
    st.integers(-(2**20), 2**20),
    st.none() | st.binary(max_size=80),
    st.none() | st.binary(max_size=300),
)
HEADERS = [("trace", b"1")]


def batch(items: Sequence[Item], headers: Sequence[tuple[str, bytes]] = ()) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 31)
    for number, (later, key, value) in enumerate(items):
        builder.append(number, 1_700_000_000_000 + later, key, value, list(headers))
    return bytes(builder.build())


def walked(data: bytes, *, offset: int = 0, timestamp_type: int = 0) -> Columns | None:
    read = DefaultRecordBatch(data)
    number = int.from_bytes(data[57:HEADER_ENDS], "big")
    start = BatchStart(offset, read.first_timestamp, read.max_timestamp, timestamp_type, number)
    return walk_batches([Inflated(data[HEADER_ENDS:], start)])


def plain(records: Sequence[Record]) -> list[tuple[Any, ...]]:
    return [(item.offset, item.timestamp, item.timestamp_type, item.key, item.value) for item in records]


@given(items=st.lists(ITEMS, min_size=1, max_size=40))
@example(items=[(0, b"k", b"v" * 31), (0, b"k", b"v" * 32)])  # lengths of one byte and of two
@example(items=[(0, None, b"v" * 70_000), (2**20, b"", b"")])
def test_it_reads_what_aiokafka_reads(items: list[Item]) -> None:
    data = batch(items)
    found = walked(data)
    assert found is not None
    assert plain(found) == plain(list(DefaultRecordBatch(data)))
    assert [type(value) for value in plain(found)[0][:3]] == [int, int, int]
    assert found.size == sum(len(key or b"") + len(value or b"") for _, key, value in items)


def test_offsets_and_times_begin_where_the_batch_says_or_are_those_of_the_broker() -> None:
    data = batch([(0, b"k", b"a"), (7, b"k", b"b")])
    first, second = walked(data, offset=50) or ()
    assert (first.offset, second.offset, second.timestamp - first.timestamp) == (50, 51, 7)
    first, second = walked(data, timestamp_type=1) or ()
    assert (first.timestamp, second.timestamp) == (1_700_000_000_007, 1_700_000_000_007)


def test_a_batch_with_headers_or_another_number_of_records_is_left_to_aiokafka() -> None:
    assert walked(batch([(0, b"k", b"v")], HEADERS)) is None
    data = bytearray(batch([(0, b"k", b"v")] * 3))
    data[60] = 2
    assert walked(bytes(data)) is None
    assert walk_batches([Inflated(b"", BatchStart(0, 0, 0, 0, 0))]) is None
    assert walk_batches([]) is None


@given(
    items=st.lists(ITEMS, min_size=1, max_size=6),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 4),
)
@example(items=[(0, None, None)], changes=[(1, 128)], cut=0)  # an attribute, of which there are none
def test_of_broken_bytes_it_reads_nothing_that_aiokafka_does_not(
    items: list[Item], changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(batch(items))
    body = len(data) - HEADER_ENDS
    for place, byte in changes:
        data[HEADER_ENDS + place % body] = byte
    broken = bytes(data[: len(data) - cut])
    found = walked(broken)
    if found is not None:
        assert plain(found) == plain(list(DefaultRecordBatch(broken)))


@given(
    sizes=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=5),
    text=st.text(max_size=20),
)
def test_an_element_of_several_batches_is_decoded_like_a_list_of_its_records(
    sizes: list[tuple[int, bool]], text: str
) -> None:
    records: list[Record] = []
    element = None
    for size, is_walked in sizes:
        part = walked(batch([(len(records), text.encode(), value) for value in GOOD[:size]]), offset=len(records))
        assert part is not None
        begin = len(records)
        records += part
        next_one = Element(
            "agent.traces.v1", 0, Records([part if is_walked else list(part)]), begin, len(records), 1, 0, 1
        )
        element = next_one if element is None else joined(element, next_one)
    assert element is not None
    assert plain(element.records) == plain(records)
    assert plain([element.records[-1]]) == plain(records[-1:])
    listed = Element("agent.traces.v1", 0, records, 0, len(records), 1, 0, 1)
    one, other = (decode_batch(each.batch(), "agent_span") for each in (element, listed))
    assert one.frame.equals(other.frame)
    assert (one.rejected, other.rejected) == ((), ())


def test_a_message_that_cannot_be_read_is_rejected_with_its_bytes() -> None:
    part = walked(batch([(0, b"k", GOOD[0]), (1, b"bad", b"\xc3\x01 no"), (2, None, None)]))
    assert part is not None
    decoded = decode_batch(Element("agent.traces.v1", 0, Records([part]), 0, 3, 1, 0, 1).batch(), "agent_span")
    assert decoded.frame["offset"].to_list() == [0]
    assert [(item.offset, item.key, item.value) for item in decoded.rejected] == [
        (1, b"bad", b"\xc3\x01 no"),
        (2, None, b""),
    ]


def test_a_place_outside_is_an_error() -> None:
    with pytest.raises(IndexError):
        Records([])[0]
