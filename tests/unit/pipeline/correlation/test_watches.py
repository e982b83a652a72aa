"""What became of an agent's write: regressed, clean, or not enough data; in whatever order the log was written."""

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.correlation import watches
from pipeline.operators.correlate import CorrelateOperator
from pipeline.operators.state import dump, load
from schemas.signals import Action, Gap, Heard, Marker, Reduced, Row, Signal, compact_json
from schemas.watches import Watched
from tests.builders import at, event, metric, span
from tests.scenario import replay

CART = "prod/shop/deployment/cart"
POD = "prod/shop/pod/cart-6996dd565b-mddj2"
DB, WEB, EDGE, BILLING = (f"prod/{name}/deployment/{name}" for name in ("db", "web", "edge", "billing"))
WROTE = 1_000.0  # seconds; the write takes one more
ENDS = WROTE + 1 + 600


def write(seconds: float = WROTE, **fields: Any) -> dict[str, Any]:
    given = {"span_id": f"act-{seconds}", "tool_name": "kubernetes.scale", "access": "write", "target": CART}
    return span(seconds + 1, **given | {"start_time": at(seconds), "duration_ms": 1000} | fields)


def points(resource: str, since: float = 900, until: float = 1_700) -> list[dict[str, Any]]:
    return [metric(s, 10.0, resource=resource, metric="queue.size") for s in range(int(since), int(until), 30)]


def warn(seconds: float, resource: str = POD, reason: str = "Unhealthy") -> dict[str, Any]:
    name = f"{reason}-{resource}-{seconds}"
    return event(seconds, name, "kubernetes", resource, reason=reason, severity="warning")


def depends(resource: str, on: str) -> dict[str, Any]:
    return event(1, f"{resource} on {on}", "dependency", resource, value=on)


def closed(*rows: dict[str, Any]) -> list[Watched]:
    return replay([*rows, metric(1_700, 1.0, resource=BILLING)], settle=60_000_000).outcomes.watched


def outcome(*rows: dict[str, Any]) -> str:
    (found,) = closed(write(), *rows)
    return found.outcome


def test_a_write_after_which_nothing_fails_is_clean_when_its_time_is_over() -> None:
    (found,) = closed(write(), *points(CART))
    assert (found.outcome, found.closed_at, found.resources, found.heard) == ("clean", at(ENDS), 1, 1)
    assert found.shows == "nothing new failed within 10 min; 1 of 1 resource sent metrics to the end"
    assert (found.symptom_id, found.symptom_at) == (None, None)


def test_a_crash_closes_the_watch_at_once() -> None:
    (found,) = closed(write(), *points(CART), warn(1_102, reason="BackOff"))
    assert (found.outcome, found.closed_at, found.began_at) == ("regressed", at(1_105), at(WROTE))
    assert (found.symptom_id, found.symptom_resource, found.symptom_at) == (f"BackOff-{POD}-1102", POD, at(1_102))
    assert found.shows == "cart failed 1 min 42 s after: BackOff"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([warn(1_100)], "clean", id="one weak symptom is nothing"),
        pytest.param([warn(1_100), warn(1_300)], "clean", id="nor is the same again"),
        pytest.param([warn(1_100), warn(1_300, reason="Killing")], "regressed", id="two different ones are"),
        pytest.param([warn(WROTE, reason="BackOff")], "not_enough_data", id="what failed before it cannot tell"),
        pytest.param([warn(WROTE - 601, reason="BackOff")], "clean", id="long before does not count"),
        pytest.param([warn(ENDS, reason="BackOff")], "regressed", id="the last moment counts"),
        pytest.param([warn(ENDS + 1, reason="BackOff")], "clean", id="a second later is too late"),
        pytest.param([warn(1_100, BILLING, "BackOff")], "clean", id="what it cannot reach does not count"),
    ],
)
def test_what_counts_as_a_regression(rows: list[dict[str, Any]], expected: str) -> None:
    assert outcome(*points(CART), *rows) == expected


@pytest.mark.parametrize(
    ("failed", "expected"),
    [(DB, "regressed"), (WEB, "regressed"), (EDGE, "regressed"), (BILLING, "clean")],
)
def test_it_looks_two_steps_up_and_down_and_no_further(failed: str, expected: str) -> None:
    edges = [depends(CART, DB), depends(WEB, CART), depends(EDGE, WEB), depends(BILLING, EDGE)]
    speaking = [point for one in (CART, DB, WEB, EDGE) for point in points(one)]
    assert outcome(*edges, *speaking, warn(1_100, failed, "BackOff")) == expected


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        pytest.param([], "not_enough_data", id="nothing was heard of"),
        pytest.param(points(CART, until=1_290), "not_enough_data", id="it fell silent in the first half"),
        pytest.param(points(CART, until=1_350), "clean", id="it spoke in the second half"),
    ],
)
def test_silence_is_not_health(heard: list[dict[str, Any]], expected: str) -> None:
    assert outcome(*heard) == expected


NORMAL = [
    event(s, f"normal-{s}", "kubernetes", POD, reason=reason, severity="normal")
    for s, reason in ((1_010, "Scheduled"), (1_020, "Started"), (1_500, "Killing"), (1_590, "Started"))
]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(
            NORMAL, "not_enough_data", id="events to the end clear nobody: errors and slow answers raise none"
        ),
        pytest.param([*NORMAL, warn(1_102, reason="BackOff")], "regressed", id="what they tell of counts all the same"),
        pytest.param([*NORMAL, *points(CART)], "clean", id="metrics beside them do"),
    ],
)
def test_where_only_events_cover_what_it_reaches_it_may_regress_and_is_never_clean(
    rows: list[dict[str, Any]], expected: str
) -> None:
    (found,) = closed(write(), *rows)
    assert found.outcome == expected
    if expected == "not_enough_data":
        assert found.shows == "0 of 1 resource sent metrics to the end: silence proves nothing"


def test_half_of_what_it_reaches_must_have_been_heard_of() -> None:
    edges = [depends(CART, DB), depends(WEB, CART), depends(EDGE, CART)]
    assert outcome(*edges, *points(CART)) == "not_enough_data"
    assert outcome(*edges, *points(CART), *points(WEB)) == "clean"


def test_a_write_without_a_target_is_watched_and_cannot_tell() -> None:
    (found,) = closed(write(target=None), *points(CART), warn(1_100, reason="BackOff"))
    assert (found.outcome, found.resources) == ("not_enough_data", 0)


def test_of_too_many_the_oldest_close_before_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "MOST_OPEN", 2)
    found = closed(*points(CART), *(write(WROTE + 10 * number) for number in range(3)))
    assert [(one.span_id, one.outcome) for one in found] == [
        ("act-1000.0", "not_enough_data"), ("act-1010.0", "clean"), ("act-1020.0", "clean"),
    ]  # fmt: skip
    assert found[0].closed_at < at(1_030)


def action(number: int, seconds: int, target: str) -> Action:
    return Action(
        tenant="acme", trace_id="t", span_id=f"w-{number}", session_id="s", agent_id="a", operation="execute_tool",
        access="write", start_time=at(seconds), end_time=at(seconds), status="ok", target=target,
    )  # fmt: skip


def symptom(number: int, seconds: int, resource: str, *, is_strong: bool) -> Signal:
    told = {"reason": f"r-{number % 3}", "is_strong": is_strong, "references": [{
        "type": "symptom", "topic": "cluster.events.v1", "partition": 0, "offset": number, "event_id": f"e-{number}",
        "event_time": at(seconds), "resource": resource, "shows": "failed",
    }]}  # fmt: skip
    return Signal(
        signal_id=f"x-{number}", type="symptom.kubernetes", tenant="acme", scope="prod/shop", resource=resource,
        window_start=at(seconds), window_end=at(seconds), detected_at=at(seconds), evidence=compact_json(told),
    )  # fmt: skip


PLACES = st.sampled_from([CART, DB, WEB])
SECONDS = st.integers(0, 1_500)
ROWS = st.lists(
    st.one_of(
        st.builds(action, st.integers(0, 9), SECONDS, PLACES),
        st.builds(symptom, st.integers(0, 9), SECONDS, PLACES, is_strong=st.booleans()),
        st.builds(lambda s, place: Heard(tenant="acme", pane=at(s), resources=compact_json([place])), SECONDS, PLACES),
    ),
    max_size=25,
    unique_by=lambda row: getattr(row, "span_id", None) or getattr(row, "signal_id", None) or (row.pane, row.resources),
)
PANE = 5_000_000
SOURCES = ("agent.traces.v1/0", "cluster.events.v1/0", "system.metrics.v1/0")


def time_of(row: Row) -> int:
    return row.start_time if isinstance(row, Action) else row.detected_at if isinstance(row, Signal) else row.pane  # type: ignore[union-attr]


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_outcomes_depend_on_the_log_alone(rows: list[Row], draw: Any) -> None:
    queues: dict[str, list[Reduced | Marker | Gap]] = {}
    for source, kind in zip(SOURCES, (Action, Signal, Heard), strict=True):
        by_pane: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            if isinstance(row, kind):
                by_pane[time_of(row) // PANE * PANE].append(row)
        queues[source] = []
        for pane in sorted(by_pane.keys() | {at(4_000) // PANE * PANE}):
            queues[source] += [Reduced(source, pane, "r", row) for row in by_pane[pane]]
            queues[source].append(Marker(source=source, pane=pane, run="r", rows=len(by_pane[pane])))
    whole = CorrelateOperator(SOURCES)
    whole.read([message for queue in queues.values() for message in queue])
    wanted = {one.span_id: one for one in whole.take_watched()}
    assert wanted.keys() == {row.span_id for row in rows if isinstance(row, Action)}

    cut, found = CorrelateOperator(SOURCES), {}
    while any(queues.values()):
        source = draw.choice(sorted(name for name, queue in queues.items() if queue))
        size = draw.choice((1, 2, 7))
        cut.read(queues[source][:size])
        found |= {one.span_id: one for one in cut.take_watched()}
        queues[source] = queues[source][size:]
        if draw.random() < 0.2:
            blobs, cut = dump(cut), CorrelateOperator(SOURCES)
            load(cut, blobs)
    assert found == wanted
