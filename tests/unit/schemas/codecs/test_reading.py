"""What is read in one walk is what the strict walk and fastavro read; what is not is left to them."""

import time
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import registry
from schemas.codecs import reading, single
from schemas.codecs.reading import UnusualError
from schemas.signals import Marker
from tests.unit.schemas.codecs.test_writing import KINDS, value_of

MARKER = single.encode_record(Marker(source="agent.traces.v1/3", pane=-5, run="8f3a1c", rows=2))


def slowly(data: bytes) -> Any:
    """What the reference says, and its reason where it refuses."""

    def refuse(_: object) -> Any:
        raise UnusualError

    with patch.object(single, "reader", lambda _: refuse):
        return outcome(data)


def outcome(data: bytes) -> Any:
    try:
        return repr(single.decode(data))  # nan is equal to itself there
    except single.UnreadableError as error:
        return error.reason, error.detail


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_values_are_those_of_fastavro(kind: str, data: st.DataObject) -> None:
    schema = registry.newest(kind)
    message = single.encode(kind, {field.name: data.draw(value_of(field)) for field in schema.fields})
    assert repr((kind, reading.reader(schema)(message))) == slowly(message)


@given(
    kind=st.sampled_from(KINDS),
    data=st.data(),
    cut=st.integers(0, 40),
    changed=st.dictionaries(st.integers(10, 300), st.integers(0, 255), max_size=3),
)
def test_what_is_damaged_is_judged_as_by_the_reference(
    kind: str, data: st.DataObject, cut: int, changed: dict[int, int]
) -> None:
    schema = registry.newest(kind)
    damaged = bytearray(single.encode(kind, {field.name: data.draw(value_of(field)) for field in schema.fields}))
    for place, byte in changed.items():
        damaged[place % len(damaged)] = byte
    message = bytes(damaged[: len(damaged) - cut])
    assert outcome(message) == slowly(message)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(MARKER[:-1], id="cut"),
        pytest.param(MARKER + b"\0", id="something behind it"),
        pytest.param(MARKER[:10] + b"\x01" + MARKER[11:], id="a negative length"),
        pytest.param(MARKER[:-1] + b"\x80" * 10 + b"\0", id="a number of eleven bytes"),
        pytest.param(MARKER[:-1] + b"\xff" * 9 + b"\x02", id="a number of more than 64 bits"),
        pytest.param(MARKER[:12] + b"\xff" + MARKER[13:], id="no UTF-8"),
    ],
)
def test_what_is_malformed_is_not_read_here(message: bytes) -> None:
    with pytest.raises(UnusualError):
        reading.reader(registry.newest("marker"))(message)
    assert outcome(message) == slowly(message)
    assert outcome(message)[0] in set(single.Reason)


def test_a_number_that_goes_on_for_a_megabyte_is_refused_at_its_eleventh_byte() -> None:
    read = reading.reader(registry.newest("marker"))
    began = time.process_time()
    with pytest.raises(UnusualError):
        read(MARKER[:10] + b"\x99" * 990_000)
    assert time.process_time() - began < 1.0  # adding up such a number takes most of a minute
