"""Contexts that are nearly full, and changes made on the strength of answers that were cut off."""

from typing import Any

import pytest

from pipeline.core.limits import Limits
from pipeline.core.models import context_of
from pipeline.detectors import context_overload
from schemas.signals import Signal
from tests.builders import closed_rows, frame, run_detector, span


def chat(seconds: float, tokens: int | None, **fields: Any) -> dict[str, Any]:
    return span(seconds, operation="chat", tool_name=None, context_tokens=tokens, **{"context_limit": 1000} | fields)


def found(spans: list[dict[str, Any]], limits: Limits | None = None, size: int = 1000) -> list[Signal]:
    parts = [spans[first : first + size] for first in range(0, len(spans), size)]
    return run_detector(context_overload, [closed_rows(frame("agent_span", part)) for part in parts], limits)


def names(signals: list[Signal]) -> list[str]:
    return [signal.type.removeprefix("context_overload.") for signal in signals]


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_it_is_said_at_eighty_percent_and_again_at_ninety_five_with_what_is_left(size: int) -> None:
    spans = [chat(10 * n, 550 + 50 * n) for n in range(9)]  # 550 ... 950
    first, second = found(spans, size=size)
    assert first.summary == ("the context holds 800 of 1,000 tokens (80%), grows by 50 a call and is full in about 4")
    assert (first.severity, first.details["growth_per_call"]) == ("info", 50)
    assert second.details["context_tokens"] == 950
    assert found([chat(1, 799)]) == []


def test_after_a_cut_it_is_said_anew_and_not_before() -> None:
    spans = [chat(n, tokens) for n, tokens in enumerate([850, 820, 790, 860, 300, 850])]
    assert names(found(spans)) == ["near_limit", "near_limit"]


def test_agents_of_one_session_have_contexts_of_their_own() -> None:
    spans = [chat(1, 850), chat(2, 100, agent_id="agent-2"), chat(3, 860), chat(4, 900, agent_id="agent-2")]
    assert [signal.agent_id for signal in found(spans)] == ["agent-1", "agent-2"]


def test_the_limit_is_the_spans_own_then_the_stated_then_what_is_known_of_the_model() -> None:
    stated = Limits.model_validate({"limits": [{"match": {"model": "house-*"}, "context_limit": 500}]})
    assert names(found([chat(1, 450, context_limit=None, model="house-7")], stated)) == ["near_limit"]
    assert found([chat(1, 450, context_limit=None, model="house-7")]) == []
    assert found([chat(1, 450, model="house-7")], stated) == []
    assert names(found([chat(1, 161_000, context_limit=None, model="claude-sonnet-4-5")])) == ["near_limit"]
    assert found([chat(1, 159_000, context_limit=None, model="claude-sonnet-4-5")]) == []
    assert context_of("vendor/gpt-4o-mini") == 128_000
    assert context_of("something") is context_of(None) is None


def test_a_context_beyond_the_limit_shows_that_the_limit_is_another() -> None:
    assert found([chat(1, 400_000, context_limit=None, model="claude-sonnet-4-5")]) == []


def test_an_answer_cut_off_in_a_full_context_is_a_warning_and_one_with_room_is_none() -> None:
    signals = found([chat(1, 990, finish_reason="length")])
    assert names(signals) == ["near_limit", "cut_off"]
    assert signals[1].severity == "warning"
    assert found([chat(1, 200, finish_reason="length")]) == []


@pytest.mark.parametrize("size", [1, 1000])
def test_a_change_on_the_strength_of_half_an_answer_is_a_signal(size: int) -> None:
    cut = chat(1, None, context_limit=None, finish_reason="length")
    write = span(5, access="write", tool_name="apply", target="prod/shop/deployment/cart")
    (signal,) = found([cut, write], size=size)
    assert signal.summary == "apply ran on the strength of an answer that was cut off"
    assert found([cut, chat(3, 100), write], size=size) == []
    assert found([cut, write | {"status": "error"}], size=size) == []
    assert found([cut, span(5, access="read")], size=size) == []
    assert found([cut, write | {"session_id": "session-2"}], size=size) == []
