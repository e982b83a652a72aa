"""What is inflated is what was deflated, up to a bound; and a batch beyond it costs one message, not its neighbours."""

from collections.abc import Callable, Sequence

import aiokafka.codec
import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from pipeline import inflating
from pipeline.inflating import MOST_BYTES, BoundedRecords, KeptRecords, UnfoldsTooFarError
from schemas.codecs import Batch, Unread
from schemas.codecs.blocks import decode_batch
from schemas.errors import Reason

Code = Callable[[bytes], bytes]
CODECS: dict[str, tuple[Code, Code]] = {
    name: (getattr(aiokafka.codec, f"{name}_encode"), getattr(inflating, f"{name}_decode"))
    for name in ("gzip", "lz4", "snappy", "zstd")
}
CODECS["snappy, one block"] = (
    lambda data: aiokafka.codec.snappy_encode(data, xerial_compatible=False),
    inflating.snappy_decode,
)
NUMBERS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
PLACE = TopicPartition("agent.traces.v1", 3)


@pytest.fixture(autouse=True)
def installed() -> None:
    inflating.install()


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.binary(max_size=3_000), times=st.integers(1, 40))
def test_it_gives_what_went_in(codec: str, data: bytes, times: int) -> None:
    deflate, inflate = CODECS[codec]
    packed = deflate(data * times)
    assert inflate(packed) == data * times
    assert inflate(memoryview(packed)) == data * times  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", CODECS)
def test_up_to_the_bound_and_not_beyond_it(codec: str) -> None:
    deflate, inflate = CODECS[codec]
    assert len(inflate(deflate(bytes(MOST_BYTES)))) == MOST_BYTES
    with pytest.raises(UnfoldsTooFarError):
        inflate(deflate(bytes(MOST_BYTES + 1)))


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.binary(min_size=1, max_size=200))
def test_of_what_is_no_such_thing_never_more_than_the_bound_is_made(codec: str, data: bytes) -> None:
    try:
        found = CODECS[codec][1](data)
    except Exception:  # noqa: BLE001  # each library has its own, and a length that lies is one that is too large
        return
    assert len(found) <= MOST_BYTES


def batch(codec: str, base: int, *values: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> bytes:
    builder = DefaultRecordBatchBuilder(2, NUMBERS[codec], False, -1, -1, -1, 1 << 31)
    for number, value in enumerate(values):
        builder.append(number, 1_000 + base + number, b"k", value, list(headers))
    data = bytearray(builder.build())
    data[:8] = base.to_bytes(8, "big")
    return bytes(data)


def records(data: bytes, start: int = 0) -> list[tuple[int, int, bytes]]:
    found = BoundedRecords(PLACE, KeptRecords(data), None, start, None, None, True, 0)
    return [(record.offset, record.timestamp, record.value) for part in found for record in part]


@pytest.mark.parametrize("codec", NUMBERS)
def test_records_of_each_codec_come_with_their_offsets_from_where_reading_starts(codec: str) -> None:
    data = batch(codec, 5, b"a", b"b") + batch(codec, 9, b"c")
    assert records(data) == [(5, 1_005, b"a"), (6, 1_006, b"b"), (9, 1_009, b"c")]
    assert records(data, 6) == [(6, 1_006, b"b"), (9, 1_009, b"c")]


BATCHES = st.lists(
    st.tuples(st.sampled_from(sorted(NUMBERS)), st.integers(0, 3), st.lists(st.binary(max_size=40), min_size=1)),
    min_size=1,
    max_size=6,
)


@given(batches=BATCHES, start=st.integers(0, 20), headers=st.sets(st.integers(0, 5), max_size=2))
def test_small_batches_walked_together_hold_what_each_holds(
    batches: list[tuple[str, int, list[bytes]]], start: int, headers: set[int]
) -> None:
    data, base, expected = b"", 0, []
    for number, (codec, hole, values) in enumerate(batches):
        base += hole
        data += batch(codec, base, *values, headers=[("trace", b"1")] if number in headers else [])
        expected += [(base + place, 1_000 + base + place, value) for place, value in enumerate(values)]
        base += len(values)
    read = BoundedRecords(PLACE, KeptRecords(data), None, start, None, None, True, 0)
    parts = list(read)
    found = [(record.offset, record.timestamp, record.value) for part in parts for record in part]
    assert found == [record for record in expected if record[0] >= start]
    assert read.next_fetch_offset == max(start, base)
    if not headers:
        assert len(parts) == bool(found)


def test_batches_are_walked_together_up_to_a_size() -> None:
    half = b"v" * (inflating.TOGETHER_BYTES // 2)
    data = batch("lz4", 0, half) + batch("lz4", 1, half) + batch("none", 2, b"a") + batch("none", 3, b"b")
    parts = list(BoundedRecords(PLACE, KeptRecords(data), None, 0, None, None, True, 0))
    assert [[record.offset for record in part] for part in parts] == [[0], [1, 2, 3]]


def test_a_batch_that_is_broken_takes_none_before_it_along() -> None:
    data = bytearray(batch("none", 0, b"a") + batch("none", 1, b"b"))
    data[-1] ^= 1
    read = BoundedRecords(PLACE, KeptRecords(bytes(data)), None, 0, None, None, True, 0)
    with pytest.raises(CorruptRecordException):
        list(read)
    assert read.next_fetch_offset == 0  # what came before it is read again with it


@pytest.mark.parametrize("codec", [name for name in NUMBERS if name != "none"])
def test_a_batch_that_unfolds_too_far_is_one_message_that_was_not_read(codec: str) -> None:
    half = bytes(MOST_BYTES // 2)
    found = records(batch(codec, 0, b"a") + batch(codec, 1, half, half, b"x") + batch(codec, 4, b"b"))
    assert [(offset, value) for offset, _, value in found] == [(0, b"a"), (3, b""), (4, b"b")]
    assert isinstance(found[1][2], Unread)

    offsets, stamps, values = zip(*found, strict=True)
    decoded = decode_batch(
        Batch(PLACE.topic, PLACE.partition, offsets, [stamp * 1_000 for stamp in stamps], [None] * 3, values),
        "agent_span",
    )
    rejected = {letter.offset: letter for letter in decoded.rejected}
    assert rejected[3].reason == Reason.TOO_LARGE
    assert rejected[3].detail.startswith("a batch of 3 messages that unfolds to more than 16000000 bytes; send smaller")
