"""The board of a tenant: what is posted to facts.v1, and when it is taken down."""

import random
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.correlation import board as boards
from pipeline.correlation.board import Board, Posting
from pipeline.operators.correlate import CorrelateOperator
from pipeline.operators.state import dump, load
from schemas.incidents import Attribution, Incident
from schemas.signals import Fact, Gap, Marker, Reduced
from schemas.times import MICROS
from tests.builders import T0, at

DB = "prod/shop/statefulset/db"
WEB = "prod/shop/deployment/web"
PANE = 5 * MICROS


def fact(fact_id: str, kind: str = "maintenance", resource: str = DB, begins: float = 0, **fields: Any) -> Fact:
    ends = fields.pop("ends", None)
    return Fact(
        tenant="acme", fact_id=fact_id, kind=kind, resource=resource, event_time=at(fields.pop("said", begins)),
        published_time=at(begins), valid_from=at(begins), valid_until=None if ends is None else at(ends), **fields,
    )  # fmt: skip


def incident(status: str = "open", **fields: Any) -> Incident:
    found: dict[str, Any] = {
        "incident_id": "i-1", "fingerprint": "f", "revision": 1, "tenant": "acme", "kind": "infrastructure_failure",
        "status": status, "severity": "warning", "scope": "prod/shop", "title": "web is down", "started_at": at(0),
        "detected_at": at(5), "updated_at": at(5), "summary": "", "rule_version": "1",
        "agent_id": None, "agent_version": None, "session_ids": (),
        "attribution": Attribution(verdict="undetermined", probability=0.0),
    }  # fmt: skip
    return Incident(**found | fields)


def said(postings: list[Posting]) -> list[tuple[str, bool]]:
    return [(posting.key.rsplit("/", 1)[1], posting.fact is not None) for posting in postings]


def test_a_window_is_posted_and_taken_down_when_it_ends() -> None:
    board = Board()
    assert board.apply(at(5), [fact("mw-1", ends=60)], []) == [Posting("acme/prod/shop/mw-1", fact("mw-1", ends=60))]
    assert board.advance(at(60) - 1) == []
    assert said(board.advance(at(60))) == [("mw-1", False)]
    assert board == Board()


def test_what_is_to_come_is_posted_at_once() -> None:
    board = Board()
    assert said(board.apply(at(5), [fact("mw-1", begins=600, said=0, ends=900)], [])) == [("mw-1", True)]
    assert board.advance(at(600)) == []
    assert said(board.advance(at(900))) == [("mw-1", False)]


def test_what_is_over_before_it_is_read_is_not_posted() -> None:
    assert Board().apply(at(60), [fact("mw-1", ends=30)], []) == []


def test_a_newer_value_replaces_the_older_from_when_it_holds() -> None:
    board = Board()
    board.apply(at(5), [fact("scale-1", "scale", WEB, value="6")], [])
    assert said(board.apply(at(10), [fact("scale-2", "scale", WEB, 7, value="24")], [])) == [
        ("scale-1", False),
        ("scale-2", True),
    ]
    assert said(board.apply(at(15), [fact("scale-3", "scale", WEB, 60, said=11, value="6")], [])) == [("scale-3", True)]
    assert said(board.advance(at(60))) == [("scale-2", False)]


@pytest.mark.parametrize(("kind", "value"), [("freeze", "lifted"), ("flag", "off"), ("maintenance", "cancelled")])
def test_what_says_that_it_is_over_takes_it_down_and_is_not_posted(kind: str, value: str) -> None:
    board = Board()
    board.apply(at(5), [fact("one", kind)], [])
    assert said(board.apply(at(10), [fact("two", kind, begins=7, value=value)], [])) == [("one", False)]
    assert board == Board(due=board.due)


def test_the_same_event_that_now_says_it_is_over_takes_itself_down() -> None:
    board = Board()
    board.apply(at(5), [fact("fz", "freeze")], [])
    assert said(board.apply(at(10), [fact("fz", "freeze", value="lifted")], [])) == [("fz", False)]


def test_a_dependency_is_posted_once_and_stays() -> None:
    board = Board()
    assert said(board.apply(at(5), [fact("d1", "dependency", WEB, value=DB)], [])) == [("d1", True)]
    assert board.apply(at(10), [fact("d2", "dependency", WEB, 7, value=DB)], []) == []
    assert said(board.apply(at(10), [fact("d3", "dependency", WEB, 7, value="prod/shop/service/x")], [])) == [
        ("d3", True)
    ]
    assert board.advance(at(10**6)) == []


def test_an_open_incident_is_a_fact_of_its_namespace_until_it_is_closed() -> None:
    board = Board()
    [posting] = board.apply(at(5), [], [incident()])
    assert posting.key == "acme/prod/shop/i-1"
    assert posting.fact is not None
    assert (posting.fact.kind, posting.fact.resource) == ("incident", "prod/shop/namespace/shop")
    assert board.apply(at(10), [], [incident(summary="more of it")]) == []
    assert said(board.apply(at(15), [], [incident("resolved")])) == [("i-1", False)]
    assert Board().apply(at(5), [], [incident(scope=None)]) == []


def test_of_too_many_the_oldest_is_taken_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MOST_POSTED", 2)
    board = Board()
    for number in range(2):
        board.apply(at(5), [fact(f"mw-{number}", resource=f"{DB}-{number}", begins=number)], [])
    assert said(board.apply(at(5), [fact("mw-2", begins=2)], [])) == [("mw-2", True), ("mw-0", False)]
    assert board.size == 2


KINDS = st.sampled_from(["maintenance", "freeze", "scale", "flag", "dependency"])
FACTS = st.lists(
    st.builds(
        lambda number, kind, place, said, wait, lasts, value: fact(
            f"f-{number}", kind, (DB, WEB)[place], said + wait, said=said, value=value,
            ends=None if lasts is None else said + wait + lasts,
        ),
        st.integers(0, 6), KINDS, st.integers(0, 1), st.integers(0, 40), st.sampled_from([0, 0, 12, 30]),
        st.sampled_from([None, 4, 20]), st.sampled_from([None, "off", "lifted", "6"]),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(FACTS, st.randoms(use_true_random=False))
def test_each_key_tells_the_same_story_wherever_batches_end_and_workers_restart(
    facts: list[Fact], draw: random.Random
) -> None:
    source = "cluster.events.v1/0"
    by_pane: dict[int, list[Fact]] = defaultdict(list)
    for one in facts:
        by_pane[one.event_time // PANE * PANE].append(one)
    log: list[Reduced | Marker | Gap] = []
    for pane in range(T0, T0 + 20 * PANE, PANE):
        log += [Reduced(source, pane, "r", row) for row in by_pane[pane]]
        log.append(Marker(source=source, pane=pane, run="r", rows=len(by_pane[pane])))

    whole = CorrelateOperator([source], posts_facts=True)
    whole.read(log)
    wanted = stories(whole.take_postings())

    cut, found, at_offset = CorrelateOperator([source], posts_facts=True), [], 0
    while at_offset < len(log):
        size = draw.choice((1, 2, 7))
        cut.read(log[at_offset : at_offset + size])
        found += cut.take_postings()
        at_offset += size
        if draw.random() < 0.3:
            blobs, cut = dump(cut), CorrelateOperator([source], posts_facts=True)
            load(cut, blobs)
    assert stories(found) == wanted


def stories(postings: list[Posting]) -> dict[str, list[Fact | None]]:
    found: dict[str, list[Fact | None]] = defaultdict(list)
    for posting in postings:
        found[posting.key].append(posting.fact)
    return found
