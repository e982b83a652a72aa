"""The truth of a trajectory, counted again from its events alone, in another way than it was told."""

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from schemas.times import MICROS, MINUTE
from tests.corpus.exhaustion import seconds_to_detect
from tests.corpus.generate import REPORTING, corpus
from tests.corpus.truth import Event, Trajectory

SEEDS = [*REPORTING, 2]


def by_text(event: Event, _: Trajectory) -> Any:
    """The call as it was sent."""
    return (event["tool_name"], event.get("tool_args")) if event["operation"] == "execute_tool" else None


def by_meaning(event: Event, _: Trajectory) -> Any:
    """The call in canonical form."""
    if event["operation"] != "execute_tool":
        return None
    given = {name: value for name, value in json.loads(event["tool_args"]).items() if value is not None}
    plain = {
        name: value.strip().rstrip("/") if isinstance(value, str) else float(value) for name, value in given.items()
    }
    return event["tool_name"], tuple(sorted(plain.items()))


def without_jitter(event: Event, trajectory: Trajectory) -> Any:
    """The call without the argument that changes."""
    if event["operation"] != "execute_tool":
        return None
    given = json.loads(event["tool_args"])
    given.pop(trajectory.truth.variant, None)
    return event["tool_name"], json.dumps(given, sort_keys=True)


def by_result(event: Event, _: Trajectory) -> Any:
    """What came back of a tool."""
    return event.get("result_digest") if event["operation"] == "execute_tool" else None


def by_output(event: Event, _: Trajectory) -> Any:
    """What a model said."""
    return event["result_digest"] if event["operation"] == "chat" else None


def by_receiver(event: Event, _: Trajectory) -> Any:
    """To whom something was handed."""
    return event["tool_name"] if event["operation"] == "handoff" else None


KEYS: dict[str, Callable[[Event, Trajectory], Any]] = {
    "loop.exact": by_text,
    "loop.cycle": by_text,
    "loop.same_meaning": by_meaning,
    "loop.near_paraphrase": by_result,
    "loop.near_jitter": without_jitter,
    "loop.with_strangers": by_text,
    "loop.volatile_results": by_text,
    "loop.retry_storm": by_text,
    "loop.waits_between": by_text,
    "loop.no_tool": by_output,
    "loop.with_compaction": by_text,
    "loop.ping_pong": by_receiver,
    "loop.split_history": by_text,
}


def calls_of(trajectory: Trajectory) -> list[Event]:
    """Model calls, tool calls and hand-offs in the order in which they ended."""
    counted = ("chat", "execute_tool", "handoff")
    spans = [event for event in trajectory.events if event["type"] == "agent_span" and event["operation"] in counted]
    return sorted(spans, key=lambda event: event["event_time"])


def tokens(events: list[Event]) -> int:
    """Input without cache reads, plus output."""
    return sum(e.get("input_tokens", 0) - e.get("cached_input_tokens", 0) + e.get("output_tokens", 0) for e in events)


@pytest.mark.parametrize("family", KEYS)
def test_redundant_calls_and_tokens_are_those_between_the_first_round_and_the_last_repeat(family: str) -> None:
    for trajectory in corpus(SEEDS, [family]):
        truth, calls = trajectory.truth, calls_of(trajectory)
        ends: dict[Any, list[int]] = defaultdict(list)
        for event in calls:
            key = KEYS[family](event, trajectory)
            if key is not None:
                ends[key].append(event["event_time"])
        again = [moments for moments in ends.values() if len(moments) >= 5]
        first = max(moments[0] for moments in again)
        last = max(moments[-1] for moments in again)
        redundant = [event for event in calls if event["start_time"] >= first and event["event_time"] <= last]
        assert truth.redundant_calls == len(redundant)
        assert truth.unplanned_tokens == tokens(redundant)
        assert truth.begins_at is not None
        assert 0 <= truth.begins_at - first <= 20 * MICROS
        assert truth.fifth_repetition_at == max(moments[4] for moments in again)


def test_all_but_the_first_run_of_a_failing_job_is_redundant() -> None:
    for trajectory in corpus(SEEDS, ["loop.cron"]):
        calls = calls_of(trajectory)
        later = [event for event in calls if event["session_id"] != calls[0]["session_id"]]
        assert trajectory.truth.redundant_calls == len(later)
        assert trajectory.truth.unplanned_tokens == tokens(later)
        failed = [event["event_time"] for event in calls if event.get("status") == "error"]
        assert trajectory.truth.fifth_repetition_at == failed[4]


def test_no_run_of_a_split_loop_shows_four_of_its_repeats() -> None:
    for trajectory in corpus(SEEDS, ["loop.split_history"]):
        seen: dict[tuple[str, Any], int] = defaultdict(int)
        for event in calls_of(trajectory):
            if event["operation"] == "execute_tool":
                seen[event["session_id"], by_text(event, trajectory)] += 1
        assert max(seen.values()) < 4
        assert len({session for session, _ in seen}) > 2


def test_the_oracle_is_the_window_that_sees_a_step_first() -> None:
    assert seconds_to_detect(0.0, 28.8) == pytest.approx(150.0)
    assert seconds_to_detect(1.0, 11.0) == pytest.approx(900 * 8.6 / 10)
    assert seconds_to_detect(0.5, 5.5) == pytest.approx(7200 * 2.5 / 5)


def test_a_budget_is_burned_at_the_rate_that_is_stated() -> None:
    for trajectory in corpus(SEEDS, ["burn.budget"]):
        truth, budget = trajectory.truth, trajectory.limits[0]["tokens_per_day"]
        assert truth.begins_at is not None
        assert truth.oracle_seconds is not None
        calls = [event for event in calls_of(trajectory) if event["start_time"] >= truth.begins_at]
        minutes = (calls[-1]["start_time"] - truth.begins_at) / MINUTE
        rate = tokens(calls[:-1]) / minutes / (budget / 1440)
        assert rate == pytest.approx(float(truth.variant.removeprefix("burn rate ")), rel=0.1)
        assert minutes * 60 > truth.oracle_seconds * 1.3, "it lasts long enough to be seen"


def test_a_healthy_budget_is_never_burned_as_fast_as_a_window_allows() -> None:
    for trajectory in corpus(SEEDS, ["healthy.within_budget"]):
        budget, calls = trajectory.limits[0]["tokens_per_day"], calls_of(trajectory)
        for minutes, share in ((5, 0.05), (15, 0.10), (120, 0.25)):
            for event in calls:
                since = event["event_time"] - minutes * MINUTE
                window = [other for other in calls if since < other["event_time"] <= event["event_time"]]
                assert tokens(window) < share * budget


def test_the_limit_of_a_session_is_passed_at_the_call_where_it_begins() -> None:
    for trajectory in corpus(SEEDS, ["burn.session"]):
        limit, begins_at = trajectory.limits[0]["tokens_per_session"], trajectory.truth.begins_at
        assert begins_at is not None
        chats = [event for event in calls_of(trajectory) if event["operation"] == "chat"]
        used = [tokens(chats[: number + 1]) for number in range(len(chats))]
        passed = next(number for number, total in enumerate(used) if total > limit)
        assert chats[passed]["event_time"] <= begins_at < chats[passed + 1]["event_time"]
