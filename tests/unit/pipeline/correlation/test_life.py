"""The life of an incident: storms, merges, what fails again, what never ends, and what was seen before."""

import random
import re
from typing import Any

import pytest

from alerts.page import Pages
from reports.incident import render
from schemas.incidents import Incident
from schemas.times import parse_time
from sinks.clickhouse.rows import timeline_frame
from tests.abuse.pages import notification_of
from tests.builders import at, event, span
from tests.scenario import incidents, replay

DAY = 24 * 3600


def failing(seconds: float, resource: str, reason: str = "BackOff") -> dict[str, Any]:
    return event(seconds, f"{resource}-{seconds}", "kubernetes", resource, reason=reason, severity="warning")


def pod(scope: str, owner: str, number: int) -> str:
    return f"{scope}/pod/{owner}-6996dd565b-{number:05d}"


def types(incident: Incident) -> list[str]:
    return [step.type for step in incident.transitions]


def test_forty_pods_that_fail_in_one_scope_are_one_incident_whatever_the_order() -> None:
    rng = random.Random(4)
    rows = [failing(rng.uniform(0, 40), pod("prod/shop", f"svc-{number % 8}", number)) for number in range(40)]
    found = incidents(rows)
    assert len(found) == 1
    assert len(found[0].blast_radius) == 40
    assert types(found[0]) == ["opened"]


def test_two_places_that_turn_out_to_be_one_are_merged_into_the_older() -> None:
    pay = pod("prod/pay", "pay", 1)
    rows = [
        failing(0, pod("prod/shop", "cart", 1)),
        failing(10, pay),
        event(20, "d", "dependency", "prod/shop/deployment/cart", value="prod/pay/deployment/pay"),
        failing(30, pod("prod/shop", "cart", 2)),
        failing(40, pay, "CrashLoopBackOff"),
    ]
    assert len(incidents(rows[:2])) == 2
    older, other = sorted(incidents(rows), key=lambda incident: incident.detected_at)
    assert (other.status, other.merged_into, types(other)) == ("resolved", older.incident_id, ["opened", "merged"])
    assert types(older) == ["opened", "merged"]
    assert {item.resource for item in older.blast_radius} >= {pay, pod("prod/shop", "cart", 1)}


@pytest.mark.parametrize(("again", "count"), [(14, 1), (30, 2)])
def test_the_same_that_fails_again_soon_reopens_its_incident(again: float, count: int) -> None:
    cart = pod("prod/shop", "cart", 1)
    rows = [failing(0, cart), span(7 * 60), failing(again * 60, cart), span(again * 60 + 1)]
    found = incidents(rows)
    assert len(found) == count
    newest = max(found, key=lambda incident: incident.updated_at)
    assert newest.status == "open"
    assert types(newest) == (["opened", "resolved", "reopened"] if count == 1 else ["opened"])
    assert newest.occurrences == count
    assert newest.first_seen_at == at(0)


def test_another_place_that_fails_soon_after_is_another_incident() -> None:
    rows = [
        failing(0, pod("prod/shop", "cart", 1)), span(7 * 60),
        failing(14 * 60, pod("prod/shop", "search", 1)), span(14 * 60 + 1),
    ]  # fmt: skip
    assert len(incidents(rows)) == 2


def test_what_never_ends_goes_on_in_a_linked_successor() -> None:
    cart = pod("prod/shop", "cart", 1)
    rows = [failing(minute * 60, cart) for minute in range(0, 25 * 60, 4)]
    first, second = sorted(incidents(rows), key=lambda incident: incident.detected_at)
    assert (first.status, first.followed_by) == ("resolved", second.incident_id)
    assert types(first)[-1] == "continued"
    assert (second.status, second.follows, second.occurrences) == ("open", first.incident_id, 1)
    assert second.started_at - first.started_at <= DAY * 1_000_000 + 10 * 60 * 1_000_000
    assert second.first_seen_at == first.started_at


def test_a_problem_that_comes_back_after_a_month_is_new() -> None:
    cart = pod("prod/shop", "cart", 1)
    rows = [failing(0, cart), failing(DAY, cart), failing(32 * DAY, cart)]
    found = sorted(incidents(rows), key=lambda incident: incident.detected_at)
    assert [incident.occurrences for incident in found] == [1, 2, 1]


def test_every_transition_stands_in_the_revision_that_made_it() -> None:
    cart = pod("prod/shop", "cart", 1)
    rows = [failing(0, cart), span(7 * 60), failing(14 * 60, cart), span(30 * 60)]
    told = [(revision.status, types(revision)[-1]) for revision in replay(rows).outcomes.revisions]
    assert ("open", "opened") in told
    assert told.index(("resolved", "resolved")) < told.index(("open", "reopened"))
    assert told[-1] == ("resolved", "resolved")


def test_what_was_seen_before_and_what_it_goes_on_from_stand_on_the_page() -> None:
    cart = pod("prod/shop", "cart", 1)
    twice = max(incidents([failing(0, cart), failing(DAY, cart)]), key=lambda incident: incident.detected_at)
    assert "the same problem was seen 2 times since 2026-03-02 14:00:00" in render(twice)
    first, second = sorted(
        incidents([failing(minute * 60, cart) for minute in range(0, 25 * 60, 4)]), key=lambda found: found.detected_at
    )
    assert f"goes on in incident {second.incident_id}" in render(first)
    assert f"goes on from incident {first.incident_id}" in render(second)


def test_a_change_of_severity_says_why_on_the_timeline_the_page_and_the_text() -> None:
    cart = pod("prod/shop", "cart", 1)
    rows = [failing(number, pod("prod/shop", f"svc-{number}", number), "Unhealthy") for number in range(5)]
    rows += [failing(second, cart, "CrashLoopBackOff") for second in (60, 70)] + [span(120)]
    first, *_, newest = replay(rows).outcomes.revisions
    assert (first.severity, newest.severity) == ("warning", "critical")
    assert first.newest_step("severity") is None
    assert types(newest) == ["opened", "severity"], "once, though it stays critical"
    step = newest.newest_step("severity")
    assert step is not None
    assert step.shows == "warning to critical: CrashLoopBackOff of cart-6996dd565b-00001"
    assert at(60) < step.at < at(70)
    told = [row for row in timeline_frame([newest]).to_dicts() if row["type"] == "severity"]
    assert [(row["shows"], parse_time(row["event_time"])) for row in told] == [(step.shows, step.at)]
    assert "  Severity      warning to critical: CrashLoopBackOff of cart-6996dd565b-00001, at 14:01:" in render(newest)
    page = Pages().of(notification_of(newest), newest)
    assert dict(page.lines)["severity"].startswith(f"{step.shows} (at 2026-03-02T14:01:")
    assert "severity" not in dict(Pages().of(notification_of(first), first).lines)


def test_a_loop_that_burns_on_becomes_critical_with_the_tokens_that_made_it_so() -> None:
    rows = [
        span(
            2 * number,
            span_id=f"s{number}",
            tool_name="write",
            tool_args="{}",
            result_digest="same",
            input_tokens=60_000,
        )
        for number in range(40)
    ]
    found = replay(rows).outcomes.revisions
    assert {found[0].severity, found[-1].severity} == {"warning", "critical"}
    step = found[-1].newest_step("severity")
    assert step is not None
    assert re.fullmatch(r"warning to critical: 1,\d{3},\d{3} unplanned tokens, critical from 1,000,000", step.shows)


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ('{"deployment":"cart","namespace":"checkout","replicas":24}', " (replicas 24)"),
        ('{"replicas":24,"force":true,"wait":1.5}', " (replicas 24, force true)"),
        ('{"manifest":"' + "x" * 400 + '","spec":{"replicas":24}}', " (spec (replicas 24))"),
        ('{"replicas":24', " (replicas 24…)"),
        ("[24]", ""),
        ("", ""),
    ],
)
def test_a_title_names_what_is_short_and_not_said_already(args: str, shown: str) -> None:
    rows = [
        span(0, tool_name="kubernetes.scale", tool_args=args, access="write", target="prod/checkout/deployment/cart"),
        *(failing(second, pod("prod/checkout", "cart", 1), "CrashLoopBackOff") for second in (60, 70)),
        span(100),
    ]
    (incident,) = incidents(rows)
    assert incident.title.endswith(f"kubernetes.scale on deployment/cart{shown}")
    assert "{" not in incident.title
