"""Usage: the sums of a table are those of its rows, added one by one, and the messages come in order."""

from collections import defaultdict
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.reduce import usage_in
from pipeline.core.rows import Rows
from schemas.usage import COLUMNS, KEY, SUMS, tables_of
from tests.builders import PANE, T0, closed_rows, frame, span

SOURCE = "agent.traces.v1/0"
SPANS = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["acme", "Ünder", "zoo", "\U0001f600"]),
        "agent_id": st.sampled_from(["a", "b"]),
        "agent_version": st.sampled_from([None, "1"]),
        "operation": st.sampled_from(["chat", "execute_tool"]),
        "target": st.sampled_from([None, "", "prod/shop/deployment/cart"]),
        "status": st.sampled_from(["ok", "error", "timeout"]),
        "error_type": st.sampled_from([None, "429 Too Many Requests", "RateLimit", "KeyError", "port 14290"]),
        "input_tokens": st.integers(0, 10**9),
        "duration_ms": st.integers(0, 10**6),
    }
)


@given(rows=st.lists(st.tuples(st.integers(0, 20), SPANS), min_size=1, max_size=40))
def test_sums_are_those_of_the_rows(rows: list[tuple[int, dict[str, Any]]]) -> None:
    spans = [span(seconds, **fields) for seconds, fields in sorted(rows, key=lambda row: row[0])]
    closed = closed_rows(frame("agent_span", spans))
    found = usage_in(Rows(closed, PANE), SOURCE)
    places = [(usage.tenant, usage.pane) for usage in found]
    assert places == sorted(set(zip(closed["tenant"], closed["pane"], strict=True)))
    assert [usage.rows for usage in found] == [tables_of([usage]).height for usage in found]
    table = tables_of(found)
    assert table.columns == ["tenant", "pane", "source", *COLUMNS]
    sums = {tuple(row[: 3 + len(KEY)]): row[3 + len(KEY) :] for row in table.rows()}
    assert len(sums) == table.height
    assert sums == expected(closed)


def expected(closed: pl.DataFrame) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """The sums by what is grouped by, one row after the other."""
    found: dict[tuple[Any, ...], tuple[int, ...]] = defaultdict(lambda: (0,) * len(SUMS))
    for row in closed.rows(named=True):
        key = (row["tenant"], row["pane"], SOURCE, *(row[name] for name in KEY))
        refused = row["status"] == "error" and row["error_type"] in ("429 Too Many Requests", "RateLimit")
        own = row | {"calls": 1, "errors": int(row["status"] != "ok"), "refused": int(refused)}
        found[key] = tuple(total + own[name] for total, name in zip(found[key], SUMS, strict=True))
    return dict(found)


def test_no_rows_no_messages() -> None:
    assert usage_in(Rows(closed_rows(frame("agent_span", [span(0)])).clear(), PANE), SOURCE) == []
    assert usage_in(Rows(closed_rows(frame("agent_span", [span(0)])), PANE), SOURCE)[0].pane == T0
