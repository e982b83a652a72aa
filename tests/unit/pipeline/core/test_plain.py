"""State as bytes: what comes back is what was saved, and what several hold is written once."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.plain import StateError, Written, decode, encode


@dataclass(frozen=True)
class Said:
    text: str
    inside: "Said | None" = None


@dataclass
class Holder:
    held: list[Any] = field(default_factory=list)


CLASSES: dict[str, type[Any]] = {"Said": Said, "Holder": Holder}
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
)
SAID = st.recursive(st.builds(Said, st.text()), lambda inside: st.builds(Said, st.text(), inside), max_leaves=4)
VALUES = st.recursive(
    LEAVES | SAID,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner) | st.lists(inner).map(Holder)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_comes_back_is_what_was_saved(value: Any) -> None:
    assert decode(encode(value, CLASSES), CLASSES) == value


def test_what_is_frozen_is_written_once_and_shared_again() -> None:
    said = Said("x" * 1_000, Said("within"))
    saved = encode({"open": [said], "waiting": Holder([said, said])}, CLASSES)
    assert saved[0].count(b"x" * 1_000) == 1
    found = decode(saved, CLASSES)
    assert found["open"][0] is found["waiting"].held[0] is found["waiting"].held[1]
    assert found["open"] == [said]


@given(st.lists(st.tuples(st.lists(SAID | st.lists(SAID, max_size=2), max_size=3), st.integers(0, 5)), max_size=4))
@settings(max_examples=50)
def test_with_what_stays_of_the_last_snapshot_the_same_is_written(steps: list[tuple[list[Any], int]]) -> None:
    written, held = Written(), Holder()
    for new, gone in steps:
        held.held = held.held[gone:] + new
        assert encode(held, CLASSES, written) == encode(held, CLASSES)
    held.held = []
    encode(held, CLASSES, written)
    assert not written.texts  # what nobody holds any more is let go


def test_what_may_change_is_not_shared() -> None:
    holder = Holder(["a"])
    one, two = decode(encode([holder, holder], CLASSES), CLASSES)
    assert one == two == holder
    assert one is not two


def test_equal_values_that_are_two_stay_two() -> None:
    one, two = decode(encode([Said("a"), Said("a")], CLASSES), CLASSES)
    assert one == two


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(b"{", id="cut"),
        pytest.param(b'{"d": []}', id="of another form"),
        pytest.param(b'{"state": {"r": 0}, "shared": []}', id="refers to nothing"),
        pytest.param(b'{"state": {"c": "Thread", "f": []}, "shared": []}', id="of another class"),
    ],
)
def test_what_is_not_ours_is_refused(blob: bytes) -> None:
    with pytest.raises(StateError, match="left aside"):
        decode([blob], CLASSES)


def test_a_class_that_is_not_named_cannot_be_saved() -> None:
    with pytest.raises(TypeError, match="Said"):
        encode([Said("a")], {})
