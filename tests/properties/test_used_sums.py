"""The sums of one pane are the same whether they are taken one by one or by a query."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import used
from pipeline.core.used import SUMS_FROM, Row, Used
from schemas.usage import KEY, PLACED, SUMS

KEYS = st.fixed_dictionaries({name: st.sampled_from(["a", "b", None]) for name in KEY})
AMOUNTS = st.fixed_dictionaries({name: st.integers(0, 10**9) for name in SUMS})


@given(rows=st.lists(st.tuples(KEYS, AMOUNTS), max_size=used.FEW))
def test_few_rows_and_many_are_summed_alike(rows: list[tuple[dict[str, str | None], dict[str, int]]]) -> None:
    table = pl.DataFrame([{"tenant": "t", "pane": 0, "source": "s"} | key | sums for key, sums in rows], schema=PLACED)
    one_by_one = Used(table).rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(used, "FEW", -1)
        by_query = Used(table).rows
    assert len({row[:SUMS_FROM] for row in one_by_one}) == len(one_by_one)
    assert set(one_by_one) == set(by_query)
    assert all(isinstance(row, Row) for row in one_by_one)
