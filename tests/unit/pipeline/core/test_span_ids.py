"""Span ids as numbers and back, and which texts are kept."""

import numpy as np
import polars as pl
import pytest

from pipeline.core import span_ids
from pipeline.core.span_ids import SpanIds

PLAIN = "00f067aa0ba902b7"


def test_ids_come_back_whatever_they_look_like() -> None:
    spans = SpanIds()
    ids = [PLAIN, "span-1", "00F067AA0BA902B7", "f" * 16, "0" * 15]
    assert [spans.text(int(number)) for number in spans.numbers(pl.Series(ids))] == ids
    assert spans.numbers(pl.Series([PLAIN])).tolist() == [int(PLAIN, 16)]
    assert spans.numbers(pl.Series([], dtype=pl.String)).tolist() == []


@pytest.mark.parametrize("other", ["00F067AA0BA902B7", "00f067aa0ba902bx", "00f067aa 0ba902b", "é" * 8, "x" * 17, "a"])
def test_one_id_that_is_no_number_changes_nothing_for_its_neighbours(other: str) -> None:
    spans = SpanIds()
    ids = pl.Series([PLAIN, "f" * 16, other, "0" * 15 + "1"])
    numbers = spans.numbers(ids)
    assert [spans.text(int(number)) for number in numbers] == ids.to_list()
    assert numbers[[0, 1, 3]].tolist() == spans.numbers(ids[[0, 1, 3]]).tolist() == [int(PLAIN, 16), 2**64 - 1, 1]
    assert spans.numbers(ids[3:]).tolist() == [1]
    assert spans.numbers(pl.concat([ids[:2], ids[3:]], rechunk=False)).tolist() == [int(PLAIN, 16), 2**64 - 1, 1]


def test_zero_stands_for_no_span() -> None:
    assert SpanIds().text(0) is None


def test_of_a_long_id_the_beginning_is_kept() -> None:
    spans = SpanIds()
    number = int(spans.numbers(pl.Series(["x" * 100]))[0])
    assert spans.text(number) == "x" * 64


def test_only_remembered_texts_are_saved_and_they_come_back() -> None:
    spans, column = SpanIds(), np.zeros(1, dtype=np.uint64)
    spans.kept_in(lambda: column)
    column[:] = spans.numbers(pl.Series(["kept", "forgotten"]))[:1]
    saved = spans.saved()
    assert list(saved.values()) == ["kept"]
    restored = SpanIds()
    restored.restore(saved)
    assert restored.text(int(column[0])) == "kept"


def test_texts_are_looked_through_when_their_number_has_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_ids, "MOST_TEXTS", 4)
    spans, looks = SpanIds(), list[int]()
    column = np.zeros(64, dtype=np.uint64)

    def look() -> span_ids.Numbers:
        looks.append(len(looks))
        return column

    spans.kept_in(look)
    for number in range(64):
        column[number] = spans.numbers(pl.Series([f"span-{number}"]))[0]
    assert len(looks) <= 5
    assert [spans.text(int(number)) for number in column] == [f"span-{number}" for number in range(64)]
