"""Which changes of limits.yml let an agent do more, and which do not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.limits import Limit, Limits
from pipeline.core.loosened import ALLOWED, MAY, MOST, NEEDS, loosened

AGENT = {"agent_id": "seo-agent"}
NOT_JUDGED = {"match", "access", "context_limit", "volatile_arguments", "budget_of"}


def limits(*entries: dict[str, Any]) -> Limits:
    return Limits.model_validate({"limits": entries})


def found(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.was, one.now) for one in loosened(limits(*before), limits(*after))]


def test_every_limit_is_judged_or_said_not_to_be() -> None:
    assert set(Limit.model_fields) == {*MOST, *ALLOWED, *NEEDS, *MAY, *NOT_JUDGED}


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        pytest.param({"max_steps": 30}, {"max_steps": 31}, [("max_steps", 30, 31)], id="a higher number"),
        pytest.param({"max_steps": 30}, {"max_steps": 29}, [], id="a lower one"),
        pytest.param({"max_steps": 30}, {}, [("max_steps", 30, None)], id="no limit where there was one"),
        pytest.param({}, {"max_steps": 30}, [], id="a limit where there was none"),
        pytest.param(
            {"needs_approval": True}, {"needs_approval": False}, [("needs_approval", True, False)], id="needs"
        ),
        pytest.param({"needs_approval": False}, {"needs_approval": True}, [], id="needs more"),
        pytest.param({}, {"may_change_in_freeze": True}, [("may_change_in_freeze", None, True)], id="may"),
        pytest.param({"may_change_in_freeze": True}, {}, [], id="may no longer"),
        pytest.param(
            {"allowed_tools": ["wp.*"]},
            {"allowed_tools": ["wp.read", "mail.send"]},
            [("allowed_tools", ("wp.*",), ("wp.read", "mail.send"))],
            id="one more tool",
        ),
        pytest.param({"allowed_tools": ["wp.*"]}, {"allowed_tools": ["wp.read"]}, [], id="fewer tools"),
    ],
)
def test_a_change_of_one_entry(
    before: dict[str, Any], after: dict[str, Any], wider: list[tuple[str, Any, Any]]
) -> None:
    assert found([{"match": AGENT, **before}], [{"match": AGENT, **after}]) == wider


def test_an_entry_that_overrides_a_general_one_is_held_against_it() -> None:
    general = {"max_steps": 30}
    assert found([general], [general, {"match": AGENT, "max_steps": 90}]) == [("max_steps", 30, 90)]
    assert found([general], [general, {"match": AGENT, "max_steps": 20}]) == []


def test_versions_that_calls_were_judged_by_can_be_compared() -> None:
    before, after = (Limits.model_validate({"version": 1, "limits": [{"max_steps": most}]}) for most in (30, 90))
    assert all(version.limits[0].match.covers(agent_id="seo-agent") for version in (before, after))
    assert [(one.name, one.was, one.now) for one in loosened(before, after)] == [("max_steps", 30, 90)]


def test_an_entry_that_goes_leaves_what_is_general() -> None:
    both = [{"max_steps": 90}, {"match": {"agent_id": "seo-*"}, "max_steps": 30}]
    assert found(both, both[:1]) == [("max_steps", 30, 90)]
    assert found(both, [{"max_steps": 10}]) == []


entries = st.lists(
    st.fixed_dictionaries(
        {"match": st.sampled_from([{}, AGENT, {"agent_id": "seo-*"}])},
        optional={
            "max_steps": st.integers(1, 3),
            "needs_approval": st.booleans(),
            "may_poll": st.booleans(),
            "allowed_tools": st.lists(st.sampled_from(["a.*", "a.b", "c"]), min_size=1, max_size=2),
        },
    ),
    max_size=4,
)


@given(before=entries, after=entries)
def test_what_is_the_same_is_not_looser_and_no_limit_is_looser_both_ways(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    assert found(before, before) == []
    there, back = loosened(limits(*before), limits(*after)), loosened(limits(*after), limits(*before))
    numbers = (*MOST, *NEEDS, *MAY)
    both = {(one.match, one.name) for one in there} & {(one.match, one.name) for one in back}
    assert not {(match, name) for match, name in both if name in numbers}
