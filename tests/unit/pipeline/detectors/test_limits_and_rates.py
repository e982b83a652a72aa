"""Token burn and call rate."""

import random
from typing import Any

import pytest

from pipeline.core.limits import Limits
from pipeline.core.used import Used
from pipeline.detectors import call_rate, token_burn
from schemas.signals import Signal
from schemas.times import MINUTE
from tests.builders import PANE, T0, closed_rows, frame, run_detector, span, usage


def limits(**values: Any) -> Limits:
    return Limits.model_validate({"version": 4, "limits": [{"match": {"agent_id": "agent-1"}, **values}]})


def chat(seconds: float, tokens: int, **fields: Any) -> dict[str, Any]:
    return span(seconds, operation="chat", tool_name=None, input_tokens=tokens, **fields)


def burn(spans: list[dict[str, Any]], allowed: Limits) -> list[Signal]:
    return run_detector(token_burn, [closed_rows(frame("agent_span", spans))], allowed)


def test_burn_fires_when_the_limit_is_passed_and_not_when_it_is_reached() -> None:
    allowed = limits(tokens_per_session=1000)
    assert burn([chat(1, 1000)], allowed) == []
    (signal,) = burn([chat(1, 1000), chat(10, 1)], allowed)
    assert signal.summary == "1,001 tokens in this session, limit 1,000"
    assert signal.rule_version == "1+limits.4"


def test_burn_speaks_again_at_each_doubling() -> None:
    found = burn([chat(6 * i, 1001) for i in range(9)], limits(tokens_per_session=1000))
    assert [s.details["tokens"] for s in found] == [1001, 2002, 4004, 8008]


def test_cache_reads_and_summed_spans_are_not_burn() -> None:
    spans = [chat(1, 5000, cached_input_tokens=4500), span(2, operation="invoke_agent", input_tokens=9000)]
    assert burn(spans, limits(tokens_per_session=1000)) == []


def test_each_version_of_an_agent_has_the_limit_that_is_stated_for_it() -> None:
    entries: list[dict[str, Any]] = [
        {"tokens_per_session": 10_000},
        {"match": {"agent_version": "2.*"}, "tokens_per_session": 1000},
    ]
    allowed = Limits.model_validate({"limits": entries})
    chats = [
        chat(i, 1500, session_id=f"s-{i}", agent_version=version) for i, version in enumerate(("1.4", "2.0", None))
    ]
    assert [(s.agent_version, s.details["limit"]) for s in burn(chats, allowed)] == [("2.0", 1000)]


def test_without_a_limit_nothing_burns() -> None:
    assert burn([chat(1, 10**9)], Limits()) == []
    assert burn([chat(1, 10**9, agent_id="another")], limits(tokens_per_session=1000)) == []


def rates(calls: list[int]) -> list[Signal]:
    memory, found = call_rate.fresh(), []
    for minute, number in enumerate(calls):
        rows = [usage(T0 + minute * MINUTE, number)] if number else []
        found += call_rate.detect(Used.of(rows), T0 + minute * MINUTE, PANE, memory, Limits())
    return found


def test_a_steady_agent_that_explodes_is_found_in_its_minute() -> None:
    (signal,) = rates([10] * 30 + [100])
    assert signal.summary == "100 calls in this minute, usually 10"


@pytest.mark.parametrize("last", [10, 29, 19])
def test_a_small_rise_is_no_spike(last: int) -> None:
    assert rates([10] * 30 + [last]) == []


def test_bursty_traffic_is_no_spike() -> None:
    draw = random.Random(3)
    assert rates([int(draw.paretovariate(1.2) * 20) if draw.random() < 0.8 else 0 for _ in range(30)] * 4) == []


def test_a_spike_is_not_learned_and_too_short_a_history_is_not_judged() -> None:
    assert len(rates([10] * 30 + [100, 100, 100])) == 3
    assert rates([10] * 19 + [500]) == []
