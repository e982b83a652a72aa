import polars as pl

from pipeline.core.panes import NEVER, Closed, Lateness, Panes, TimeRules, fold_equal_keys
from tests.builders import at, frame, span

RULES = TimeRules()


def read(panes: Panes, rows: list[dict[str, object]], ingest: list[int], newest: int | None = None) -> Closed:
    made = frame("agent_span", rows, ingest).with_columns(start_time=pl.col("event_time"))
    return panes.read(panes.lateness.judge(made, newest or max(ingest, default=0)))


def test_a_pane_closes_when_ingest_time_passes_its_end_by_the_lateness() -> None:
    panes = Panes("agent_span", RULES)
    assert read(panes, [span(1)], [at(1)]).rows.height == 0
    assert read(panes, [span(12)], [at(14.999)]).rows.height == 0
    closed = read(panes, [span(13)], [at(15)])
    assert closed.rows["span_id"].to_list() == ["span-1"]
    assert closed.upto == at(0)


def test_event_time_never_moves_the_watermark() -> None:
    panes = Panes("agent_span", RULES)
    read(panes, [span(1)], [at(1)])
    assert read(panes, [span(50)], [at(2)]).rows.height == 0


def test_a_row_is_judged_after_its_own_ingest_time_has_closed_panes() -> None:
    lateness = Lateness(RULES)
    made = frame("agent_span", [span(1), span(2)], [at(1), at(15)]).with_columns(start_time=pl.col("event_time"))
    assert lateness.judge(made, at(15)).is_late.to_list() == [False, True]


def test_the_class_of_a_row_does_not_depend_on_later_rows_of_its_batch() -> None:
    lateness = Lateness(RULES)
    made = frame("agent_span", [span(1), span(100)], [at(1), at(100)]).with_columns(start_time=pl.col("event_time"))
    assert lateness.judge(made, at(100)).is_late.to_list() == [False, False]


def test_a_row_more_than_a_minute_ahead_counts_as_late_and_is_not_carried() -> None:
    panes = Panes("agent_span", RULES)
    made = frame("agent_span", [span(62)], [at(1)]).with_columns(start_time=pl.col("event_time"))
    judged = panes.lateness.judge(made, at(1))
    assert judged.is_late.to_list() == [True]
    panes.read(judged)
    closed = read(panes, [], [], at(200))
    assert (closed.rows.height, closed.late.height) == (0, 0)


def test_a_late_row_travels_with_the_first_pane_still_open_at_its_offset() -> None:
    panes = Panes("agent_span", RULES)
    read(panes, [span(1), span(40), span(2, span_id="late")], [at(1), at(40), at(41)])
    closed = read(panes, [], [], at(60))
    assert closed.late.select("span_id", "pane").rows() == [("late", at(30))]
    assert "late" not in closed.rows["span_id"].to_list()


def test_a_tick_closes_panes_without_rows() -> None:
    panes = Panes("agent_span", RULES)
    assert panes.read(panes.lateness.judge(frame("agent_span", []), 0)).upto == NEVER
    assert read(panes, [], [], at(100)).upto == at(85)


def test_rows_of_a_pane_are_ordered_by_event_time_then_start_step_and_key() -> None:
    panes = Panes("agent_span", RULES)
    rows = [
        span(1, span_id="b", step=2),
        span(1, span_id="c", step=1),
        span(0.5, span_id="z"),
        span(1, span_id="a", step=2),
    ]
    read(panes, rows, [at(1)] * 4)
    assert read(panes, [], [], at(20)).rows["span_id"].to_list() == ["z", "c", "a", "b"]


def test_of_equal_keys_the_row_with_the_greatest_content_hash_stays_whatever_came_first() -> None:
    one, two = span(1, span_id="x", tool_name="one"), span(1, span_id="x", tool_name="two")
    kept = set()
    for rows in ([one, two], [two, one], [one, two, one]):
        made = frame("agent_span", rows).with_columns(pane=pl.lit(at(0)))
        folded = fold_equal_keys(made, ("tenant", "trace_id", "span_id"))
        assert folded.height == 1
        kept.add(folded["tool_name"][0])
    assert len(kept) == 1
