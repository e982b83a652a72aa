"""Frontier, elements and where reading starts: the rules that decide what may be committed."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.frontier import Element, Frontier, Start, joined, where_to_start


@dataclass(frozen=True)
class FakeRecord:
    offset: int
    timestamp: int = 1_700_000_000_000
    timestamp_type: int = 0
    key: bytes | None = None
    value: bytes | None = b"v"


def an_element(begin: int, end: int, epoch: int = 1, topic: str = "agent.traces.v1") -> Element:
    records = [FakeRecord(offset) for offset in range(begin, end)]
    return Element(topic, 3, records, begin, end, epoch, 0, end - begin)


def test_the_offset_stands_at_the_first_hole() -> None:
    frontier = Frontier(10, 0)
    bounds = [(frontier.hand_out(end, 5), end) for end in (12, 15, 20, 21)]
    for begin, end in (bounds[0], bounds[2], bounds[3]):
        frontier.confirm(begin, end)
    assert (frontier.offset, frontier.committable, frontier.in_flight) == (12, 12, 5)
    frontier.confirm(*bounds[1])
    assert (frontier.offset, frontier.in_flight) == (21, 0)


def test_records_that_were_joined_are_confirmed_at_once() -> None:
    frontier = Frontier(0, 0)
    for end in (3, 5, 9):
        frontier.hand_out(end, 1)
    frontier.confirm(3, 9)
    assert frontier.offset == 0
    frontier.confirm(0, 3)
    assert (frontier.offset, frontier.in_flight) == (9, 0)


def test_nothing_below_what_the_group_has_committed_is_committed() -> None:
    frontier = Frontier(0, floor=8)
    frontier.confirm(frontier.hand_out(8, 1), 8)
    assert frontier.committable is None
    frontier.confirm(frontier.hand_out(9, 1), 9)
    assert frontier.committable == 9


@pytest.mark.parametrize(("begin", "end"), [(0, 4), (0, 2), (1, 3), (3, 6)])
def test_confirming_what_was_not_handed_out_is_refused(begin: int, end: int) -> None:
    frontier = Frontier(0, 0)
    frontier.hand_out(3, 1)
    with pytest.raises(ValueError, match="wait to be confirmed"):
        frontier.confirm(begin, end)


def test_records_are_confirmed_only_once_and_read_only_forwards() -> None:
    frontier = Frontier(0, 0)
    frontier.hand_out(3, 1)
    frontier.hand_out(4, 1)
    frontier.confirm(3, 4)
    with pytest.raises(ValueError, match="wait to be confirmed"):
        frontier.confirm(3, 4)
    with pytest.raises(ValueError, match="already read"):
        frontier.hand_out(4, 1)
    with pytest.raises(ValueError, match="already read"):
        frontier.hand_out(9, 1, first=3)  # with new ones behind
    assert frontier.hand_out(9, 1, first=6) == 4  # the broker left some out


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=20), data=st.data())
def test_the_offset_never_passes_an_unconfirmed_record(sizes: list[int], data: st.DataObject) -> None:
    frontier, ends = Frontier(0, 0), []
    for size in sizes:
        ends.append((ends[-1] if ends else 0) + size)
        frontier.hand_out(ends[-1], size)
    begins = [0, *ends[:-1]]
    order = data.draw(st.permutations(range(len(sizes))))
    unconfirmed = set(order)
    for number in order:
        frontier.confirm(begins[number], ends[number])
        unconfirmed.discard(number)
        first = min((begins[left] for left in unconfirmed), default=ends[-1])
        assert frontier.offset == first
        assert frontier.in_flight == sum(sizes[left] for left in unconfirmed)


@pytest.mark.fault("F47")
@given(st.data())
def test_what_is_committed_only_grows_and_never_passes_what_is_unconfirmed_over_any_generations(
    data: st.DataObject,
) -> None:
    """Read, confirm, commit and lose the partition in any order: each generation begins where the last commit stands."""
    done: set[int] = set()  # offsets whose effect was confirmed, by whichever generation
    committed, is_new = 0, True
    frontier, open_ends = Frontier(0, 0), list[tuple[int, int]]()
    for step in data.draw(st.lists(st.sampled_from(("read", "confirm", "commit", "revoke")), max_size=40)):
        if step == "revoke" or is_new:
            frontier, open_ends, is_new = Frontier(committed, committed), [], False
        if step == "read":
            end = frontier.read_to + data.draw(st.integers(1, 5))
            open_ends.append((frontier.hand_out(end, 1), end))
        elif step == "confirm" and open_ends:
            begin, end = open_ends.pop(data.draw(st.integers(0, len(open_ends) - 1)))
            frontier.confirm(begin, end)
            done.update(range(begin, end))
        elif step == "commit" and frontier.committable is not None:
            assert frontier.committable >= committed
            committed = frontier.committable
        assert set(range(committed)) <= done
        assert all(committed <= begin for begin, _ in open_ends)


def test_joining_keeps_every_record_and_names_them_all() -> None:
    found = joined(an_element(0, 3), an_element(3, 5))
    assert [record.offset for record in found.records] == [0, 1, 2, 3, 4]
    assert (found.begin, found.end, found.size, found.token) == (0, 5, 5, "agent.traces.v1:3:0-4")
    assert found.batch().ingest_times[0] == 1_700_000_000_000_000


@pytest.mark.parametrize("second", [an_element(4, 5), an_element(3, 5, epoch=2), an_element(3, 5, topic="signals.v1")])
def test_elements_that_do_not_follow_each_other_are_not_joined(second: Element) -> None:
    with pytest.raises(ValueError, match="right after"):
        joined(an_element(0, 3), second)


@pytest.mark.parametrize(
    ("earliest", "end", "committed", "rewinds", "start"),
    [
        (0, 9, None, False, Start(0, 0)),  # a new group
        (4, 9, None, False, Start(4, 0)),  # a new group, and the beginning is gone already
        (0, 9, 7, False, Start(7, 7)),
        (0, 9, 9, False, Start(9, 9)),
        (2, 9, 7, True, Start(2, 7)),
        (5, 9, 3, False, Start(5, 5, lost=2)),  # deleted before it was read
        (5, 9, 3, True, Start(5, 5, lost=2)),
        (0, 4, 7, False, Start(0, 0)),  # the topic was made anew
    ],
)
def test_where_reading_starts(earliest: int, end: int, committed: int | None, rewinds: bool, start: Start) -> None:
    assert where_to_start(earliest, end, committed, rewinds=rewinds) == start
