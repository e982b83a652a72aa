import json
from typing import Any

import pytest

from pipeline.core.limits import Limits
from pipeline.core.wording import is_alike, sketch_of
from pipeline.detectors import hand_off
from pipeline.detectors.hand_off import BELOW, PASSED_ON, ROUNDS
from schemas.signals import Signal
from tests.builders import closed_rows, frame, run_detector, span

ASKED = (
    "Please search for the birthdates of all winners of the show",
    "Search for a list of winners of the show and collect their birthdates",
    "Find the birthdates of the winners of the show, please search another page",
    "Please collect the birthdates of all the winners of the show from any page",
    "Search again for the birthdates of winners of the show",
)


def detect(spans: list[dict[str, Any]], limits: Limits | None = None) -> list[Signal]:
    """The signals of these spans, read at once."""
    return run_detector(hand_off, [closed_rows(frame("agent_span", spans))], limits)


def ask(seconds: float, sender: str, to: str, text: str, **fields: Any) -> dict[str, Any]:
    """A hand-off."""
    asked = {"agent_id": sender, "operation": "handoff", "tool_name": f"ask:{to}"}
    return span(seconds, tool_args=json.dumps({"content": text}), **(asked | fields))


def act(seconds: float, what: str, **fields: Any) -> dict[str, Any]:
    """A tool call of the one who was asked."""
    did = {"agent_id": "worker", "tool_name": "browse", "tool_args": json.dumps({"content": what})}
    return span(seconds, **(did | fields))


def to_and_fro(rounds: int, **fields: Any) -> list[dict[str, Any]]:
    """Two agents, each in a session of its own, hand to each other in ever other words."""
    spans = []
    for i in range(rounds):
        spans.append(ask(10 * i + 1, "one", "two", f"decide a{i}", session_id="s1", root_session_id="s1", **fields))
        spans.append(ask(10 * i + 2, "two", "one", f"decide b{i}", session_id="s2", root_session_id="s1", **fields))
    return spans


def test_two_agents_that_hand_to_each_other_fire_in_the_fifth_round() -> None:
    assert detect(to_and_fro(ROUNDS)[:-2]) == []
    (signal,) = detect(to_and_fro(ROUNDS)[:-1])
    assert signal.type == "feedback_loop.ping_pong"
    assert signal.summary == "one > ask:two; two > ask:one: 5 rounds in 30 s, and nobody called a tool"
    assert signal.details["ledger"]["redundant_calls"] == 2 * ROUNDS - 3
    assert signal.details["references"]


def test_a_tool_call_between_makes_it_work() -> None:
    spans = to_and_fro(12) + [act(10 * i + 3, f"page {i}", root_session_id="s1") for i in range(12)]
    assert detect(sorted(spans, key=lambda row: row["event_time"])) == []


def test_one_agent_that_asks_many_is_no_ping_pong() -> None:
    assert detect([ask(i + 1, "one", f"w{i % 3}", f"task {i}") for i in range(30)]) == []


def sent_again(number: int, what: str = "I scrolled down", **fields: Any) -> list[dict[str, Any]]:
    """The same question in other words, and what the worker does about it."""
    spans = []
    for i in range(number):
        spans.append(ask(10 * i + 1, "chief", "worker", ASKED[i % len(ASKED)]))
        spans.append(act(10 * i + 5, what.format(i), **fields))
    return spans


def test_an_agent_that_is_asked_again_and_does_the_same_again_goes_nowhere() -> None:
    assert detect(sent_again(3)) == []
    found = detect(sent_again(4))
    assert {signal.type for signal in found} == {"feedback_loop.ping_pong"}
    assert "3 of 4 hand-offs asked for what had been asked before" in found[-1].summary
    assert found[-1].agent_id == "chief"
    assert len({signal.signal_id for signal in detect(sent_again(20))}) == len(detect(sent_again(20)))


def test_an_argument_that_is_declared_volatile_makes_no_call_a_new_one() -> None:
    spans = sent_again(4)
    for number, row in enumerate(spans):
        if row["tool_name"] == "browse":
            row |= {"tool_args": json.dumps({"content": "I scrolled down", "mood": f"m{number}"})}
            row |= {"args_digest": f"digest-{number}"}
    assert detect(spans) == []
    declared = Limits.model_validate({"limits": [{"match": {"tool_name": "browse"}, "volatile_arguments": ["mood"]}]})
    assert {signal.type for signal in detect(spans, declared)} == {"feedback_loop.ping_pong"}


def test_an_agent_that_does_something_new_each_time_does_not() -> None:
    assert detect(sent_again(20, "I opened page {}")) == []


def test_instructions_of_one_form_about_other_things_are_new() -> None:
    spans = []
    for i in range(20):
        spans.append(ask(10 * i + 1, "chief", "worker", f"Please review the following file for style: src/a{i}.py"))
        spans.append(act(10 * i + 5, "read CONTRIBUTING.md"))
    assert detect(spans) == []


def test_a_write_that_succeeds_moves_the_world() -> None:
    spans = sent_again(20)
    for i in range(0, 20, 2):
        spans.append(act(10 * i + 8, f"page {i}", access="write"))
    assert detect(sorted(spans, key=lambda row: row["event_time"])) == []


def test_an_answer_that_changes_is_something_new() -> None:
    spans = sent_again(20)
    for i, row in enumerate(spans):
        row["result_digest"] = f"r{i}"
    assert detect(spans) == []


def tree(sessions: int, task: str = "translate the handbook {}", works: bool = False) -> list[dict[str, Any]]:
    """Each session hands its task on to two more."""
    spans = []
    for i in range(sessions):
        where = {"session_id": f"s{i}", "root_session_id": "s0", "agent_id": f"agent-{i}"}
        for j in (0, 1):
            number = 2 * i + j
            spans.append(ask(number + 1, f"agent-{i}", "agent", task.format(number), **where, span_id=f"h{number}"))
            if works:
                spans += [
                    act(number + 1.2 + k / 9, f"{number} {k}", **where, span_id=f"w{number}-{k}") for k in range(2)
                ]
    return spans


def test_agents_that_hand_on_what_they_were_handed_are_a_fan_out() -> None:
    enough = 1 + max(BELOW, PASSED_ON // 2)
    found = detect(tree(enough, "translate the handbook"))
    assert {signal.type for signal in found} == {"feedback_loop.fan_out"}
    assert found[0].details["repetitions"] == PASSED_ON
    assert detect(tree(enough - 1, "translate the handbook")) == []


@pytest.mark.parametrize(
    ("task", "works"),
    [
        pytest.param("translate chapter-{}", False, id="each has a task of its own"),
        pytest.param("translate the handbook", True, id="they work"),
    ],
)
def test_a_large_team_is_no_fan_out(task: str, works: bool) -> None:
    assert detect(tree(40, task, works)) == []


def test_other_delegations_do_not_add_up() -> None:
    spans = [row | {"root_session_id": f"r{i}"} for i, row in enumerate(to_and_fro(20))]
    assert detect(spans) == []


def test_it_says_that_it_is_over_when_the_root_ends() -> None:
    end = span(99, operation="invoke_agent", tool_name=None, session_id="s1", root_session_id="s1")
    found = detect([*to_and_fro(6), end])
    assert [signal.details["is_over"] for signal in found].count(True) == 1


def test_sketches_compare_by_the_words_that_two_texts_share() -> None:
    assert is_alike(sketch_of(ASKED[0]), sketch_of(ASKED[1]))
    assert not is_alike(sketch_of(ASKED[0]), sketch_of("Write a poem on autumn leaves and rain"))
    assert is_alike(sketch_of("go on"), sketch_of("go on"))
    assert not is_alike(sketch_of(""), sketch_of(""))
    assert len(sketch_of(" ".join(f"word{i}" for i in range(500)))) <= 120
