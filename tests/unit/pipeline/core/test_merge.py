import pytest

from pipeline.core.merge import MarkerMismatchError, PaneMerge, SilenceWatch
from pipeline.core.panes import NEVER
from schemas.errors import AftermathError
from schemas.signals import Fact, Gap, Marker, Reduced, Row

PANE = 5_000_000
Messages = list[Reduced | Marker | Gap]


def row(source: str, pane: int, run: str, name: str) -> Reduced:
    fact = Fact(
        tenant="acme", fact_id=name, kind="flag", resource="a/b/flag/x", event_time=0, published_time=0, valid_from=0
    )
    return Reduced(source, pane * PANE, run, fact)


def mark(source: str, pane: int, run: str, rows: int) -> Marker:
    return Marker(source=source, pane=pane * PANE, run=run, rows=rows)


def names(panes: list[tuple[int, list[Row]]]) -> list[tuple[int, list[str]]]:
    return [(pane // PANE, sorted(row.fact_id for row in rows if isinstance(row, Fact))) for pane, rows in panes]


def test_a_pane_waits_for_every_source() -> None:
    merge = PaneMerge(["a", "b"])
    assert merge.read([row("a", 1, "r", "x"), mark("a", 1, "r", 1)]) == []
    assert names(merge.read([mark("b", 1, "r", 0)])) == [(1, ["x"])]


def test_a_marker_closes_every_earlier_pane_of_its_source() -> None:
    merge = PaneMerge(["a", "b"])
    merge.read([row("a", 1, "r", "x"), mark("a", 1, "r", 1), mark("a", 9, "r", 0)])
    assert names(merge.read([row("b", 4, "r", "y"), mark("b", 4, "r", 1), mark("b", 7, "r", 0)])) == [
        (1, ["x"]),
        (4, ["y"]),
    ]
    assert merge.applied == 7 * PANE


def test_a_pane_is_taken_once_with_the_rows_of_the_run_whose_marker_came_first() -> None:
    merge = PaneMerge(["a"])
    messages: Messages = [
        row("a", 1, "old", "x"),
        row("a", 1, "new", "x"),
        row("a", 1, "new", "y"),
        mark("a", 1, "new", 2),
        row("a", 1, "old", "z"),
        mark("a", 1, "old", 2),
    ]
    assert names(merge.read(messages)) == [(1, ["x", "y"])]
    assert merge.read([row("a", 1, "third", "w"), mark("a", 1, "third", 1)]) == []


def test_a_number_of_rows_that_differs_from_the_marker_stops_it() -> None:
    merge = PaneMerge(["a"])
    with pytest.raises(MarkerMismatchError, match="says 2 rows, 1 arrived"):
        merge.read([row("a", 1, "r", "x"), mark("a", 1, "r", 2)])


def test_an_unknown_source_is_refused_with_what_to_do() -> None:
    with pytest.raises(AftermathError, match="not among the 1 configured sources"):
        PaneMerge(["a"]).read([mark("b", 1, "r", 0)])


def test_the_order_of_messages_of_different_sources_does_not_matter() -> None:
    one: Messages = [row("a", 1, "r", "x"), mark("a", 1, "r", 1), row("a", 2, "r", "z"), mark("a", 2, "r", 1)]
    two: Messages = [mark("b", 1, "r", 0), row("b", 2, "r", "y"), mark("b", 2, "r", 1)]
    orders: list[Messages] = [one + two, two + one, [m for pair in zip(one, two, strict=False) for m in pair] + one[3:]]
    found = []
    for order in orders:
        merge = PaneMerge(["a", "b"])
        found.append([pane for message in order for pane in names(merge.read([message]))])
    assert found[0] == found[1] == found[2] == [(1, ["x"]), (2, ["y", "z"])]


def silent(source: str, pane: int) -> Gap:
    return Gap(source=source, pane=NEVER if pane == NEVER else pane * PANE)


def test_from_a_gap_record_until_the_next_marker_the_other_panes_are_shown_and_stay() -> None:
    merge = PaneMerge(["a", "b"])
    merge.read([mark("a", 1, "r", 0), mark("b", 1, "r", 0), row("b", 3, "r", "x"), mark("b", 3, "r", 1)])
    assert merge.ahead(merge.applied) == [], "no source is silent"
    assert merge.read([silent("a", 1)]) == []
    assert (merge.silent, merge.ahead_upto) == ({"a"}, 3 * PANE)
    assert names(merge.ahead(merge.applied)) == names(merge.ahead(2 * PANE)) == [(3, ["x"])]
    assert merge.ahead(3 * PANE) == []
    assert merge.read([mark("a", 2, "r", 0)]) == []
    assert (merge.silent, merge.ahead(merge.applied)) == (set(), [])
    assert names(merge.read([mark("a", 3, "r", 0)])) == [(3, ["x"])]


def test_a_gap_that_is_older_than_the_newest_marker_says_nothing() -> None:
    merge = PaneMerge(["a", "b"])
    merge.read([mark("a", 2, "r", 0), silent("a", 1)])
    assert merge.silent == set()


def test_a_marker_that_closes_nothing_new_does_not_end_a_silence() -> None:
    merge = PaneMerge(["a", "b"])
    merge.read([mark("a", 2, "r", 0), silent("a", 2), mark("a", 2, "lingering", 0), mark("a", 1, "lingering", 0)])
    assert merge.silent == {"a"}


def test_rows_of_a_silent_source_that_no_marker_has_closed_are_not_shown() -> None:
    merge = PaneMerge(["a", "b"])
    merge.read([row("a", 1, "r", "x"), silent("a", NEVER), row("b", 1, "r", "y"), mark("b", 1, "r", 1)])
    assert names(merge.ahead(NEVER)) == [(1, ["y"])]


def test_when_all_sources_are_silent_nothing_is_shown() -> None:
    merge = PaneMerge(["a", "b"])
    merge.read([row("a", 1, "r", "x"), mark("a", 1, "r", 1), silent("b", NEVER)])
    assert names(merge.ahead(NEVER)) == [(1, ["x"])]
    merge.read([silent("a", 1)])
    assert (merge.ahead(NEVER), merge.ahead_upto) == ([], NEVER)


def test_held_rows_are_those_that_wait_whatever_became_of_their_run() -> None:
    merge = PaneMerge(["a", "b"])
    merge.read([row("a", 1, "old", "x"), row("a", 1, "new", "x"), row("a", 2, "old", "y"), row("b", 1, "r", "z")])
    assert merge.held_rows == 4
    merge.read([mark("a", 1, "new", 1)])
    assert merge.held_rows == 3
    merge.read([row("a", 1, "old", "x"), mark("b", 1, "r", 1)])
    assert merge.held_rows == 1
    merge.read([mark("a", 2, "old", 1), mark("b", 2, "r", 0)])
    assert (merge.held_rows, merge.is_full) == (0, False)


def test_a_source_is_noticed_once_when_its_marker_has_not_moved_for_the_given_time() -> None:
    watch = SilenceWatch(["a", "b"], after=60)
    assert watch.notice({"a": 1, "b": 1}, 1000) == []
    assert watch.notice({"a": 1, "b": 2}, 1059) == []
    assert watch.notice({"a": 1, "b": 2}, 1060) == [Gap(source="a", pane=1)]
    assert watch.notice({"a": 1, "b": 2}, 1118) == [], "said once"
    assert watch.notice({"a": 1, "b": 2}, 1119) == [Gap(source="b", pane=2)]


def test_a_source_that_moved_is_noticed_again_after_the_given_time() -> None:
    watch = SilenceWatch(["a"], after=60)
    found = [watch.notice({"a": pane}, now) for pane, now in ((1, 0), (1, 60), (2, 70), (2, 129), (2, 130))]
    assert found == [[], [Gap(source="a", pane=1)], [], [], [Gap(source="a", pane=2)]]


def test_a_source_that_has_never_spoken_is_noticed_too() -> None:
    watch = SilenceWatch(["a"], after=60)
    assert [watch.notice({"a": NEVER}, now) for now in (0, 60)] == [[], [Gap(source="a", pane=NEVER)]]
