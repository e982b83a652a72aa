"""What speaks for and against a candidate, in words."""

import pytest

from reports.postmortem.factors import EARLY, WEAK, against, in_favour
from reports.postmortem.wording import probability


def test_a_factor_speaks_against_from_its_bound_on_and_the_strongest_comes_first() -> None:
    assert against({"lag": EARLY + 0.01, "own": WEAK + 0.01}) == ""
    assert against({"lag": EARLY, "own": 0.16, "weight": 7e-05}) == (
        "what it changed shows no symptom itself; it came earlier than is usual for an effect of this kind"
    )


def test_another_part_of_the_cluster_is_said_as_such() -> None:
    assert against({"distance": 0.01}) == "it has no more in common with what failed first than the cluster"
    assert against({"distance": 0.3}) == "nothing we know of leads from it to what failed first"


def test_what_is_near_and_shows_a_symptom_speaks_for_it() -> None:
    found = {"distance": 0.846, "coverage": 0.8, "own": 1, "lag": 0.357, "dose": 1, "weight": 11.22}
    assert in_favour(found) == (
        "it is on, or next to, what failed first; it reaches most of what failed; what it changed shows a symptom itself"
    )
    assert in_favour({"own": 0.64, "error_share": 0.0}) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "below 1%"), (0.0099, "below 1%"), (0.01, "1%"), (0.918, "92%"), (0.99, "99%"), (0.9901, "above 99%")],
)
def test_nothing_is_said_to_be_certain(value: float, text: str) -> None:
    assert probability(value) == text
