"""What a page tells a person to type works, and nothing an agent calls itself becomes a part of it."""

import shlex

import pytest

from alerts.page import Page, Pages, fitted
from pipeline.cli import parser
from tests.unit.alerts.receivers.telling import INCIDENT, OVER, PAGES, firing, resolved


def lines(**fields: object) -> dict[str, str]:
    incident = INCIDENT.model_copy(update=fields)
    return dict(PAGES.of(firing(incident), incident).lines)


def test_what_to_do_comes_first_and_the_commands_are_ones_we_have() -> None:
    page = PAGES.of(firing(), INCIDENT)
    assert [label for label, _ in page.lines[:3]] == ["do first", "hold agent", "take it"]
    for label in ("hold agent", "take it"):
        program, *words = shlex.split(dict(page.lines)[label])
        assert program == "aftermath"
        parser().parse_args(words)
    held = parser().parse_args(shlex.split(dict(page.lines)["hold agent"])[1:])
    assert (held.agent, held.tenant, held.incident) == ("capacity-agent", "acme", INCIDENT.incident_id)


@pytest.mark.parametrize("name", ["a; reboot", "$(reboot)", "it's `me`", "--help", "x\x1b[2J\nreboot"])
def test_a_name_stays_one_word_of_the_command(name: str) -> None:
    words = shlex.split(lines(agent_id=name)["hold agent"])
    assert words[:3] == ["aftermath", "control", "pause"]
    assert len(words) == 12
    assert "\n" not in lines(agent_id=name)["hold agent"]


def test_nobody_is_held_where_no_agent_did_it() -> None:
    cause = INCIDENT.attribution.model_copy(update={"verdict": "infrastructure"})
    assert "hold agent" not in lines(attribution=cause)
    assert "hold agent" not in lines(agent_id=None)
    assert "hold agent" not in lines(agent_id="a" * 101)


def test_the_end_says_what_was_and_asks_for_nothing() -> None:
    page = PAGES.of(resolved(), OVER)
    assert {"do first", "hold agent", "take it"}.isdisjoint(dict(page.lines))
    assert (page.headline, page.title[:16]) == ("PAGE critical RESOLVED", "cart-db and cart")


def test_what_cannot_be_told_is_said_so() -> None:
    cause = INCIDENT.attribution.model_copy(update={"verdict": "undetermined", "ranked": ()})
    assert lines(attribution=cause)["cause"] == "not determined: no change stands out"
    assert "runbook" not in dict(Pages().of(firing(), INCIDENT).lines)


def test_a_page_that_was_shortened_says_so_and_one_that_fits_does_not() -> None:
    page = PAGES.of(firing(), INCIDENT)
    short = page.shortened(80)
    assert short.lines[-1] == ("shortened", "lines are cut after 80 characters")
    assert all(len(text) <= 80 for _, text in short.lines)
    assert page.shortened(500) == page
    tried: list[Page] = []

    def make(one: Page) -> bytes:
        tried.append(one)
        return "".join(text for _, text in one.lines).encode()

    assert len(fitted(page, make, 1_000)) <= 1_000
    assert [one.lines[-1] for one in tried] == [page.lines[-1], page.shortened(200).lines[-1], short.lines[-1]][
        : len(tried)
    ]
