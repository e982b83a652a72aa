"""The verdict from weights: clear, equal, and while a source that tells of changes is silent."""

import pytest

from pipeline.correlation.attribution import judge
from pipeline.correlation.candidates import Cause
from schemas.incidents import Attribution, Verdict

CART, WEB = "prod/shop/deployment/cart", "prod/shop/deployment/web"


def cause(weight: float, by: str = "session 1", verdict: Verdict = "agent", resource: str = CART) -> Cause:
    return Cause("agent_action", verdict, by, resource, 1, weight, {}, by)


def said(*causes: Cause, unseen: float = 0.0, node_failed_first: bool = False) -> Attribution:
    return judge(causes, node_failed_first=node_failed_first, unseen=unseen).attribution


def test_what_a_silent_source_may_hold_takes_from_the_winner_and_can_flip_the_verdict() -> None:
    assert (said(cause(2.0)).verdict, said(cause(2.0)).probability) == ("agent", 0.667)
    assert said(cause(2.0), unseen=0.25).verdict == "undetermined"  # one of four partitions
    assert [said(cause(8.0), unseen=unseen).probability for unseen in (0.0, 0.25, 1.0, 2.0)] == [
        0.889, 0.874, 0.833, 0.784,
    ]  # fmt: skip


def test_nor_is_nothing_we_saw_surer_for_it() -> None:
    assert (said().verdict, said().probability) == ("infrastructure", 0.98)
    assert (said(unseen=0.25).verdict, said(unseen=0.25).probability) == ("infrastructure", 0.87)
    assert said(unseen=1.0).verdict == "undetermined"  # a whole source that is silent clears nobody
    assert said(unseen=2.0, node_failed_first=True).verdict == "infrastructure"  # a node that failed first does


@pytest.mark.parametrize(
    ("second", "place", "expected"),
    [
        pytest.param(1.5, CART, "shared", id="a seventh of the first, on the same thing, shares"),
        pytest.param(1.4, CART, "agent", id="less does not"),
        pytest.param(4.0, WEB, "agent", id="on another thing it competes, and is behind"),
        pytest.param(5.1, WEB, "undetermined", id="or is not clearly behind"),
    ],
)
def test_two_that_explain_equally_well(second: float, place: str, expected: str) -> None:
    assert said(cause(10.0), cause(second, "event 2", "change", place)).verdict == expected
