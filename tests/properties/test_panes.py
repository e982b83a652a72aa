"""Any split into batches, any order within the lateness, duplicates: the same panes."""

from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.panes import Panes, TimeRules
from tests.builders import T0, frame, span

RULES = TimeRules()
END = T0 + 600_000_000

moments = st.integers(0, 60_000_000)
spans = st.lists(st.tuples(moments, st.integers(0, 8), st.sampled_from(["ok", "error"])), min_size=1, max_size=40)


def rows_of(drawn: list[tuple[int, int, str]]) -> list[dict[str, Any]]:
    return [span(0, event_time=T0 + when, span_id=f"s{name}-{when}", status=status) for when, name, status in drawn]


def closed_panes(arrivals: list[tuple[int, dict[str, Any]]], cuts: list[int]) -> list[tuple[Any, ...]]:
    """Every closed row as (pane, event_time, span_id, status), read in batches that end at `cuts`."""
    panes = Panes("agent_span", RULES)
    found: list[tuple[Any, ...]] = []
    edges = [0, *sorted({cut % (len(arrivals) + 1) for cut in cuts}), len(arrivals)]
    batches = [arrivals[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    for number, batch in enumerate([*batches, []]):
        made = frame("agent_span", [row for _, row in batch], [stamp for stamp, _ in batch])
        made = made.with_columns(start_time=pl.col("event_time"))
        newest = END if number == len(batches) else max((stamp for stamp, _ in batch), default=0)
        closed = panes.read(panes.lateness.judge(made, newest))
        found += [("row", *row) for row in closed.rows.select("pane", "event_time", "span_id", "status").iter_rows()]
        found += [("late", *row) for row in closed.late.select("pane", "event_time", "span_id", "status").iter_rows()]
    return found


@settings(max_examples=40, deadline=None)
@given(spans, st.lists(st.integers(0, 25_000_000), min_size=40, max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_any_split_into_batches_gives_the_same_panes(
    drawn: list[tuple[int, int, str]], delays: list[int], cuts: list[int]
) -> None:
    stamped = [(row["event_time"] + delay, row) for row, delay in zip(rows_of(drawn), delays, strict=False)]
    arrivals = sorted(stamped, key=lambda pair: pair[0])
    whole, split = closed_panes(arrivals, []), closed_panes(arrivals, cuts)
    assert sorted(map(repr, whole)) == sorted(map(repr, split))
    on_time = [row for row in split if row[0] == "row"]
    assert on_time == [row for row in whole if row[0] == "row"], "rows come in the same order"


@settings(max_examples=40, deadline=None)
@given(spans, st.data())
def test_any_order_within_the_lateness_and_any_duplicates_give_the_same_panes(
    drawn: list[tuple[int, int, str]], data: st.DataObject
) -> None:
    rows = rows_of(drawn)
    found = []
    for _ in range(2):
        again = rows + data.draw(st.lists(st.sampled_from(rows), max_size=5))
        room = [RULES.pane_of(row["event_time"]) + RULES.pane + RULES.lateness - 1 - row["event_time"] for row in again]
        delays = [data.draw(st.integers(0, most)) for most in room]
        stamped = [(row["event_time"] + delay, row) for row, delay in zip(again, delays, strict=True)]
        found.append(closed_panes(sorted(stamped, key=lambda pair: pair[0]), []))
    assert found[0] == found[1]
    assert not [row for row in found[0] if row[0] == "late"]
