from typing import Any

import pytest

from pipeline.detectors import monologue
from schemas.signals import Signal
from tests.builders import closed_rows, frame, run_detector, span


def detect(spans: list[dict[str, Any]]) -> list[Signal]:
    """The signals of these spans, read at once."""
    return run_detector(monologue, [closed_rows(frame("agent_span", spans))])


def chats(number: int, **fields: Any) -> list[dict[str, Any]]:
    """Model calls that say the same; a field may be a function of the call's number."""
    same = {
        "operation": "chat", "tool_name": None, "result_digest": "said", "context_tokens": lambda i: 1_000 + 100 * i,
        "input_tokens": lambda i: 1_000 + 100 * i, "output_tokens": 60,
    }  # fmt: skip
    return [
        span(1 + 6 * i, span_id=f"chat-{i}", **{k: v(i) if callable(v) else v for k, v in (same | fields).items()})
        for i in range(number)
    ]


@pytest.mark.parametrize(("number", "fired"), [(4, 0), (5, 1)])
def test_five_equal_outputs_fire_and_four_do_not(number: int, fired: int) -> None:
    assert len(detect(chats(number))) == fired


def test_the_sentence_and_the_ledger_are_made_from_its_numbers() -> None:
    (signal,) = detect(chats(5))
    assert signal.type == "feedback_loop.no_tool"
    assert signal.summary == "the model said the same 5 times in 18 s and called no tool"
    ledger = signal.details["ledger"]
    assert (ledger["needed_calls"], ledger["redundant_calls"]) == (1, 4)
    assert ledger["unplanned_tokens"] == sum(1_000 + 100 * i for i in range(1, 5)) + 4 * 60
    assert [item["event_id"] for item in signal.details["references"]] == ["chat-1", "chat-4"]


def test_an_equal_context_is_a_monologue_too() -> None:
    assert len(detect(chats(5, context_tokens=5_000))) == 1


def test_equal_answers_to_many_short_questions_are_none() -> None:
    assert detect(chats(40, context_tokens=lambda i: 1_000 + (i * 37) % 11, input_tokens=900)) == []


def test_other_outputs_are_none() -> None:
    assert detect(chats(40, result_digest=lambda i: f"said-{i}")) == []


def test_outputs_that_are_not_known_are_none() -> None:
    assert detect(chats(40, result_digest=None)) == []


def test_a_tool_call_between_makes_it_none() -> None:
    spans = []
    for i, chat in enumerate(chats(20)):
        spans += [chat, span(2 + 6 * i, span_id=f"call-{i}", tool_args="{}")] if i % 4 == 3 else [chat]
    assert detect(spans) == []


@pytest.mark.parametrize(
    "end",
    [
        pytest.param({"operation": "invoke_agent", "tool_name": None}, id="the end of the session"),
        pytest.param({"operation": "chat", "tool_name": None, "result_digest": "new"}, id="another output"),
        pytest.param({"operation": "execute_tool"}, id="a tool call"),
    ],
)
def test_it_says_once_when_it_is_over(end: dict[str, Any]) -> None:
    found = detect([*chats(6), span(50, **end), span(60, **end | {"span_id": "again"})])
    assert [signal.details["is_over"] for signal in found] == [False, False, True]
    assert found[-1].details["repetitions"] == 6
