"""Before a change: which facts hold, which were not read, and what strict mode lets through."""

import json
from typing import Any

import pytest
from aftermath_client import NotCleared
from aftermath_client.facts import Facts
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.correlation.board import key_of
from pipeline.correlation.facts import Ledger
from pipeline.correlation.topology import Topology
from schemas.signals import Fact
from tests.builders import at
from tests.client.building import CART, DB, Clock, a_guard, fact, limit, post, spans

WINDOW = fact("mw-1", ends=600, source="change-calendar", message="rebuild of a replica")
EDGE = fact("d-1", "dependency", CART, value=DB)


def ids(facts: tuple[Fact, ...]) -> list[str]:
    return [one.fact_id for one in facts]


def test_it_names_what_holds_for_a_target_and_what_it_depends_on() -> None:
    clock = Clock()
    guard = a_guard(clock)
    post(guard, WINDOW, EDGE, fact("other", resource="prod/billing/deployment/x", ends=600), fact("old", ends=0))
    report = guard.preflight(CART)
    assert (ids(report.facts), ids(report.unread)) == (["mw-1"], ["mw-1"])
    assert report.text.count("Not read: maintenance on prod/shop/statefulset/cart-db: rebuild of a replica [mw-1]") == 1
    clock.seconds = 600
    assert guard.preflight(CART).facts == ()
    assert "Nothing is known" in guard.preflight(CART).text


def test_a_fact_to_come_and_one_not_published_yet_say_nothing_now() -> None:
    guard = a_guard()
    post(guard, fact("later", begins=60, published=-60, ends=600), fact("unsaid", begins=-60, published=60, ends=600))
    assert guard.preflight(DB).facts == ()


def test_other_tenants_facts_are_not_kept() -> None:
    guard = a_guard()
    post(guard, fact("theirs", tenant="other", ends=600), fact("like", tenant="acme/x", ends=600))
    assert guard.health["facts"] == 0


def test_a_read_of_the_source_after_it_was_published_counts_as_read() -> None:
    clock = Clock(-120)
    guard = a_guard(clock)
    post(guard, WINDOW, EDGE)
    with guard.step("change_calendar.list"):
        pass
    clock.seconds = 0
    assert ids(guard.preflight(CART).unread) == ["mw-1"]  # that was before
    with pytest.raises(OSError, match="down"), guard.step("change_calendar.list"):
        raise OSError("down")
    assert ids(guard.preflight(CART).unread) == ["mw-1"]  # and that failed
    with guard.step("change_calendar.list"):
        pass
    report = guard.preflight(CART)
    assert (ids(report.facts), report.unread) == (["mw-1"], ())


def test_what_limits_yml_says_a_tool_reads_counts() -> None:
    guard = a_guard()
    post(guard, WINDOW, EDGE)
    limit(guard, reads=[{"match": {"tool_name": "ops.checklist"}, "sources": ["change-*"]}])
    with guard.step("ops.checklist"):
        pass
    assert guard.preflight(CART).unread == ()


def test_strict_mode_refuses_a_write_in_an_unread_window_and_takes_it_when_it_was_read_and_explained() -> None:
    guard = a_guard(strict=True)
    post(guard, WINDOW, EDGE)
    with pytest.raises(NotCleared, match="Not read: maintenance") as caught, guard.step("scale", CART, "write"):
        raise AssertionError("must not run")
    guard.learned(caught.value.report.facts)
    with pytest.raises(NotCleared, match="Say in `summary`"), guard.step("scale", CART, "write"):
        pass
    with guard.step("scale", CART, "write", summary="agreed with the dba on call"):
        pass
    with guard.step("get", CART):
        pass
    made = spans(guard)
    assert [(span["operation"], span.get("status", "ok")) for span in made] == [
        ("decision", "error"), ("decision", "ok"), ("decision", "error"), ("execute_tool", "ok"), ("execute_tool", "ok"),
    ]  # fmt: skip
    assert json.loads(made[1]["context_facts"]) == ["mw-1"]
    assert json.loads(made[3]["attributes"]) == {
        "guard": "made", "facts": ["mw-1"], "unread": [], "refusals": [], "mismatches": [],
    }  # fmt: skip


def test_without_strict_mode_the_same_is_made_and_what_was_ignored_is_published() -> None:
    guard = a_guard()
    post(guard, WINDOW, EDGE)
    with guard.step("scale", CART, "write"):
        pass
    [span] = spans(guard)
    assert json.loads(span["attributes"])["unread"] == ["mw-1"]
    assert "Not read" in json.loads(span["attributes"])["refusals"][0]


@pytest.mark.parametrize(
    ("stated", "more", "says"),
    [
        ({"needs_approval": True}, {"approval": "requested"}, "wants an approval"),
        ({"needs_approval": True}, {"approval": "granted", "approved_by": "user:mo"}, None),
        ({"needs_summary": True}, {"summary": " "}, "wants a summary"),
        ({"needs_summary": True}, {"summary": "short of replicas"}, None),
        ({"needs_read_first": True}, {}, "wants a look first"),
        ({"allowed_targets": ["prod/billing/*"]}, {}, "does not let this agent change"),
        ({"allowed_targets": ["prod/shop/*"]}, {}, None),
        ({"match": {"tool_name": "other"}, "needs_approval": True}, {}, None),
    ],
)
def test_strict_mode_asks_for_what_limits_yml_wants(stated: Any, more: Any, says: str | None) -> None:
    guard = a_guard(strict=True)
    limit(guard, stated)
    if says is None:
        with guard.step("scale", CART, "write", **more):
            return
    with pytest.raises(NotCleared, match=says), guard.step("scale", CART, "write", **more):
        pass


def test_a_look_at_the_target_is_a_read_first() -> None:
    guard = a_guard(strict=True)
    limit(guard, {"needs_read_first": True})
    with guard.step("get", CART):
        pass
    with guard.step("scale", CART, "write"):
        pass


@pytest.mark.parametrize(
    ("expects", "mismatches", "unknown"),
    [
        ({"replicas": 6}, (), ()),
        ({"deployment/cart.replicas": "6"}, (), ()),
        ({"replicas": 7}, ("replicas is 6, not 7",), ()),
        ({"image": "5.3.2"}, (), ()),
        ({"image": "cart:5.4.0"}, ("image is cart:5.3.2, not cart:5.4.0",), ()),
        ({"flag/prefetch.enabled": False}, ("flag/prefetch.enabled is experimental-on, not False",), ()),
        ({"statefulset/cart-db.replicas": 2}, (), ("statefulset/cart-db.replicas",)),
    ],
)
def test_what_a_decision_was_based_on_is_held_against_what_is_known(
    expects: Any, mismatches: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    guard = a_guard(strict=True)
    post(
        guard,
        fact("s-1", "scale", CART, -7200, value="4"),
        fact("s-2", "scale", CART, -3600, value="6"),
        fact("r-1", "deploy", CART, -7200, value="cart:5.3.2"),
        fact("f-1", "flag", "prod/shop/flag/prefetch", -7200, value="experimental-on", source="flag-service"),
    )
    report = guard.preflight(CART, expects=expects)
    assert (report.mismatches, report.unknown) == (mismatches, unknown)
    assert report.is_clear is (not mismatches)


def test_a_fresh_change_is_news_for_a_while() -> None:
    clock = Clock()
    guard = a_guard(clock)
    post(guard, fact("r-1", "deploy", CART, -60, value="cart:5.4.0"))
    assert ids(guard.preflight(CART).facts) == ["r-1"]
    clock.seconds = 15 * 60
    assert guard.preflight(CART).facts == ()


RESOURCES = (
    CART, DB, "prod/shop/deployment/web", "prod/shop/namespace/shop", "prod/shop/flag/prefetch", "prod/infra/service/dns",
    "prod/infra/namespace/infra", "prod/infra/quota/cpu", "prod", "prod/x/cluster/prod", "stage/shop/deployment/cart",
    "prod/shop/pod/cart-6996dd565b-mddj2",
)  # fmt: skip
PLACES = st.sampled_from(RESOURCES)
TARGETS = st.sampled_from([place for place in RESOURCES if "/" in place])
OWNING = st.sampled_from([place for place in RESOURCES if "/deployment/" in place or "/statefulset/" in place])
SEVERAL = st.lists(
    st.builds(
        lambda number, kind, place, begins, lasts: fact(
            f"f-{number}", kind, place, begins, published=-90, ends=None if lasts is None else begins + lasts
        ),
        st.integers(0, 30), st.sampled_from(["maintenance", "freeze", "flag", "quota"]), PLACES, st.integers(-60, 30),
        st.sampled_from([None, 20, 80]),
    ),
    max_size=12, unique_by=lambda one: one.fact_id,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(SEVERAL, st.lists(st.tuples(OWNING, OWNING).filter(lambda edge: edge[0] != edge[1]), max_size=4), TARGETS)
def test_it_finds_what_aftermath_finds_afterwards(
    several: list[Fact], edges: list[tuple[str, str]], target: str
) -> None:
    ledger, topology, facts = Ledger(), Topology(), Facts()
    for number, (one, other) in enumerate(edges):
        topology.add_dependency(one, other)
        edge = fact(f"d-{number}", "dependency", one, value=other)
        facts.put(key_of(edge), {name: getattr(edge, name) for name in Fact.__dataclass_fields__})
    for item in several:
        ledger.add(item)
        topology.see(item.resource)
        facts.put(key_of(item), {name: getattr(item, name) for name in Fact.__dataclass_fields__})
    wanted = [item.fact_id for item in ledger.about(target, at(0), topology)]
    assert [item.fact_id for item in facts.about(target, at(0))] == wanted
    for item in several:
        facts.put(key_of(item), None)
    assert facts.about(target, at(0)) == []


CHANGES = st.lists(
    st.builds(
        lambda name, kind, begins, lasts: fact(
            name, kind, CART, begins, published=begins - 5, ends=None if lasts is None else begins + lasts, value=name
        ),
        st.text("ab", min_size=1, max_size=3), st.sampled_from(["deploy", "scale"]), st.integers(-1800, 60),
        st.sampled_from([None, None, 60, 3600]),
    ),
    max_size=10, unique_by=lambda one: one.fact_id,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(CHANGES, st.integers(0, 1200))
def test_of_changes_the_newest_is_state_and_news_while_it_is_fresh(several: list[Fact], seconds: int) -> None:
    facts, now = Facts(), at(seconds)
    for item in several:
        facts.put(key_of(item), {name: getattr(item, name) for name in Fact.__dataclass_fields__})
    told = []
    for kind in ("deploy", "scale"):
        begun = [one for one in several if one.kind == kind and one.valid_from <= now]
        lasting = [one for one in begun if one.valid_until is not None and now < one.valid_until]
        newest = max(begun, key=lambda one: (one.valid_from, one.fact_id), default=None)
        is_open = newest is not None and newest.valid_until is None
        holds = sorted([*lasting, *([newest] if is_open else [])], key=lambda one: (one.valid_from, one.fact_id))  # type: ignore[list-item]
        state = facts.state(CART, kind, now)
        assert (state.fact_id if state else None) == (holds[-1].fact_id if holds else None)
        told += [one for one in holds if one.valid_until is not None or now - one.valid_from < 15 * 60 * 1_000_000]
    wanted = sorted(told, key=lambda one: (one.valid_from, one.fact_id))
    assert [one.fact_id for one in facts.about(CART, now)] == [one.fact_id for one in wanted]
