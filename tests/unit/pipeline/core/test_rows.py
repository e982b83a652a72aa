"""Columns of rows as numbers: in the order asked for, also of a frame that is part of another, and with gaps."""

import numpy as np
import polars as pl
import pytest

from pipeline.core.rows import Rows, hash_of_text

SPARSE = pl.DataFrame(
    {
        "tokens": [None, 5, None, 7, 2**60, None, 9],
        "target": ["a", None, "b" * 40, None, "a", "", None],
        "full": list("abcdefg"),
        "none": pl.Series([None] * 7, dtype=pl.String),
    }
)
FRAMES = [
    pytest.param(SPARSE, id="whole"),
    pytest.param(SPARSE[1:6], id="slice"),
    pytest.param(pl.concat([SPARSE[3:], SPARSE[:2]], rechunk=False), id="two chunks"),
]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("is_ordered", [False, True])
def test_what_is_missing_is_told_from_what_is_there(frame: pl.DataFrame, *, is_ordered: bool) -> None:
    order = None if is_ordered else np.arange(frame.height)[::-1].copy()
    rows, asked = Rows(frame, 1, order), frame if order is None else frame[order]
    tokens, target = asked["tokens"].to_list(), asked["target"].to_list()
    assert rows.ints("tokens").tolist() == [-1 if value is None else value for value in tokens]
    assert rows.filled("target").tolist() == [place for place, value in enumerate(target) if value is not None]
    assert rows.filled("none").tolist() == []
    assert rows.filled("full").tolist() == list(range(frame.height))
    assert rows.hashes("target").tolist() == [0 if value is None else int(hash_of_text(value)) for value in target]
    assert not rows.hashes("none").any()
    places = np.array([frame.height - 1, 0, 0])
    assert rows.take(places, ("full", "target")).rows() == asked.select("full", "target")[places.tolist()].rows()
    assert rows.texts("full", places) == asked["full"][places.tolist()].to_list()
