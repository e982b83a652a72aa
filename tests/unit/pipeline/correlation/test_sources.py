"""A source that tells of changes and never came, or stopped before it failed, makes every verdict less sure."""

from typing import Any

import pytest

from pipeline.correlation.sources import Sources, unseen
from reports.incident import render
from schemas.incidents import Incident
from schemas.signals import Fact, Heard, compact_json
from schemas.topics import EVENTS, TRACES
from tests.builders import PANE, at, event, metric, span, usage
from tests.scenario import incidents

CART = "prod/shop/deployment/cart"
POD = "prod/shop/pod/cart-6996dd565b-mddj2"
MINUTE = 60.0
FAILS = 3_600.0


def traces(since: float, until: float, every: float = MINUTE) -> list[dict[str, Any]]:
    """An agent that reads something steadily, far away."""
    steps = range(int((until - since) / every))
    return [
        span(
            since + every * n,
            span_id=f"r-{since}-{n}",
            access="read",
            target="prod/ops/job/j",
            tool_args=f'{{"n":{n}}}',
        )
        for n in steps
    ]


def deploys(since: float, until: float, every: float = MINUTE) -> list[dict[str, Any]]:
    """Somebody who deploys steadily, far away."""
    steps = range(int((until - since) / every))
    who = {"actor": "user:mo", "actor_kind": "human"}
    return [event(since + every * n, f"d-{since}-{n}", "deploy", f"far/ops/deployment/s{n}", **who) for n in steps]


def crash(seconds: float = FAILS) -> dict[str, Any]:
    return event(seconds, f"crash-{seconds}", "kubernetes", POD, reason="BackOff", severity="warning")


def of_shop(*rows: dict[str, Any]) -> Incident:
    (found,) = (incident for incident in incidents(list(rows)) if incident.blast_radius)
    return found


def test_where_all_speak_nothing_is_said_to_be_hidden() -> None:
    found = of_shop(*traces(0, FAILS), *deploys(0, FAILS), crash())
    assert (found.attribution.verdict, found.attribution.probability) == ("infrastructure", 0.98)
    assert found.attribution.unseen == ()
    assert "not be in sight" not in found.summary


def test_agents_of_which_no_trace_ever_came_are_not_cleared() -> None:
    found = of_shop(*deploys(0, FAILS), crash())
    assert found.attribution.probability < 0.7
    assert found.attribution.unseen == ("no agents' traces ever came, so nobody can be cleared by them",)
    assert "Another cause may not be in sight: no agents' traces ever came" in found.summary
    assert "no agents' traces ever came" in render(found)


def test_a_change_is_blamed_less_surely_too() -> None:
    own = event(FAILS - 100, "own", "deploy", CART, actor="user:kim", actor_kind="human")
    seen, alone = of_shop(*traces(0, FAILS), own, crash()), of_shop(own, crash())
    assert seen.attribution.verdict == alone.attribution.verdict == "change"
    assert alone.attribution.probability < seen.attribution.probability - 0.005
    # the candidate itself is less likely by as much
    assert alone.attribution.ranked[0].probability < seen.attribution.ranked[0].probability


def test_metrics_alone_tell_of_no_change_so_nothing_can_be_determined() -> None:
    usual = [metric(15.0 * n, 10 + n % 3, resource=CART, metric=name) for n in range(200) for name in METRICS]
    broken = [metric(3_000 + 15.0 * n, 90, resource=CART, metric=name) for n in range(8) for name in METRICS]
    found = of_shop(*usual, *broken)
    assert found.attribution.verdict == "undetermined"
    assert len(found.attribution.unseen) == 2


METRICS = ("http.latency_p95_ms", "http.error_rate", "queue.lag", "memory.used_percent")


@pytest.mark.parametrize(
    ("rows", "is_silent"),
    [
        pytest.param(traces(0, FAILS - 20 * MINUTE), True, id="stopped twenty minutes before"),
        pytest.param(traces(0, FAILS - 3 * MINUTE), False, id="a pause of four minutes is none"),
        pytest.param(traces(0, FAILS - 20 * MINUTE, 10 * MINUTE), False, id="one that speaks rarely cannot be told"),
        pytest.param(
            [*traces(0, FAILS - 20 * MINUTE), *traces(FAILS - 3 * MINUTE, FAILS)], True, id="back just before it failed"
        ),
        pytest.param(
            [*traces(0, FAILS - 20 * MINUTE), *traces(FAILS - 9 * MINUTE, FAILS)], False, id="back long before"
        ),
    ],
)
def test_traces_that_stopped_while_the_cause_must_have_acted_are_named(
    rows: list[dict[str, Any]], is_silent: bool
) -> None:
    found = of_shop(*rows, *deploys(0, FAILS), crash())
    assert bool(found.attribution.unseen) is is_silent
    assert (found.attribution.probability < 0.7) is is_silent


def test_a_silence_that_only_shows_later_makes_the_next_revision_less_sure() -> None:
    early = of_shop(*traces(0, FAILS - MINUTE), *deploys(0, FAILS), crash())
    assert early.attribution.unseen == ()
    later = [*traces(0, FAILS - MINUTE), *deploys(0, FAILS + 10 * MINUTE)]
    late = of_shop(*later, crash(), *(crash(FAILS + 120 * n) for n in range(1, 5)))
    assert [text.partition(" from ")[0] for text in late.attribution.unseen] == ["agents' traces were silent"]


def test_the_part_of_a_topic_that_does_not_go_on_counts_as_that_part_and_nothing_twice() -> None:
    silent = {TRACES.name: "agents' traces were silent"}
    assert unseen({}, {}) == (0.0, ())
    assert unseen({}, {TRACES.name: 0.25, EVENTS.name: 0.0}) == (0.25, ("a part of agents' traces does not come",))
    assert unseen(silent, {TRACES.name: 0.25}) == (1.0, ("agents' traces were silent",))


def test_what_is_remembered_is_bounded_and_a_copy_lives_by_itself() -> None:
    sources = Sources()
    for hour in range(40):
        for minute in range(20):
            sources.hear(at(3600 * hour + 60 * minute), [usage(at(3600 * hour + 60 * minute), 1)])
    assert 1 <= len(sources.silences[TRACES.name]) <= 3
    twin = sources.twin()
    twin.hear(at(40 * 3600), [usage(at(40 * 3600), 1)])
    assert sources.pulses[TRACES.name].last < twin.pulses[TRACES.name].last
    assert sources.silences != twin.silences


def test_metrics_are_no_source_of_changes_and_any_fact_is() -> None:
    sources = Sources()
    sources.hear(at(0), [Heard(tenant="acme", pane=at(0), resources=compact_json([CART]))])
    assert sources.silent(at(PANE), at(PANE)).keys() == {TRACES.name, EVENTS.name}
    fact = Fact(
        tenant="acme", fact_id="f", kind="freeze", resource=CART, event_time=at(0), published_time=at(0),
        valid_from=at(0),
    )  # fmt: skip
    sources.hear(at(5), [fact])
    assert sources.silent(at(10), at(10)).keys() == {TRACES.name}
