import pytest

from pipeline.core.merge import MarkerMismatchError, PaneMerge
from schemas.errors import AftermathError
from schemas.signals import Fact, Marker, Reduced

PANE = 5_000_000


def row(source: str, pane: int, run: str, name: str) -> Reduced:
    fact = Fact(
        tenant="acme", fact_id=name, kind="flag", resource="a/b/flag/x", event_time=0, published_time=0, valid_from=0
    )
    return Reduced(source, pane * PANE, run, fact)


def mark(source: str, pane: int, run: str, rows: int) -> Marker:
    return Marker(source=source, pane=pane * PANE, run=run, rows=rows)


def names(panes: list[tuple[int, list[object]]]) -> list[tuple[int, list[str]]]:
    return [(pane // PANE, sorted(r.fact_id for r in rows)) for pane, rows in panes]  # type: ignore[attr-defined]


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
    messages = [
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
    one = [row("a", 1, "r", "x"), mark("a", 1, "r", 1), row("a", 2, "r", "z"), mark("a", 2, "r", 1)]
    two = [mark("b", 1, "r", 0), row("b", 2, "r", "y"), mark("b", 2, "r", 1)]
    orders = [one + two, two + one, [m for pair in zip(one, two, strict=False) for m in pair] + one[3:]]
    found = []
    for order in orders:
        merge = PaneMerge(["a", "b"])
        found.append([pane for message in order for pane in names(merge.read([message]))])
    assert found[0] == found[1] == found[2] == [(1, ["x"]), (2, ["y", "z"])]
