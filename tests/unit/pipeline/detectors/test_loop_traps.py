"""What hides a loop, and what looks like one: each seen in a public bug report."""

import json
from typing import Any

import pytest

from pipeline.core.limits import Limits
from pipeline.core.sameness import names_in
from pipeline.core.watch import FAILURES, NOTHING_NEW, PATIENT, WRITES
from pipeline.detectors import feedback_loop
from schemas.signals import Signal
from tests.builders import at, closed_rows, frame, run_detector, span

PHRASES = ("find the newest", "search for the current", "look up the latest", "show me the", "which are the")


def detect(spans: list[dict[str, Any]], limits: Limits | None = None) -> list[Signal]:
    """The signals of these spans, read at once."""
    return run_detector(feedback_loop, [closed_rows(frame("agent_span", spans))], limits)


def calls(number: int, every: float = 6.0, **fields: Any) -> list[dict[str, Any]]:
    """Equal reads with equal results, `every` seconds apart; a field may be a function of the call's number."""
    same = {"tool_name": "get", "tool_args": '{"id": 7}', "access": "read", "result_digest": "same"}
    return [
        span(1 + i * every, span_id=f"call-{i}", **{k: v(i) if callable(v) else v for k, v in (same | fields).items()})
        for i in range(number)
    ]


def kinds(signals: list[Signal]) -> set[str]:
    return {signal.type for signal in signals}


def query(number: int) -> str:
    """One question in other words."""
    return json.dumps({"query": f"{PHRASES[number % 5]} settings of cart-17 {'again ' * (number % 3)}"})


def test_paraphrased_questions_with_the_same_answer_are_near_after_ten_that_brought_nothing() -> None:
    assert detect(calls(NOTHING_NEW, tool_args=query)) == []
    (signal,) = detect(calls(NOTHING_NEW + 1, tool_args=query))
    assert signal.type == "feedback_loop.near"
    assert signal.summary == "11 calls of get in other words in 1 min: nothing new was asked for, nothing new came back"
    assert signal.details["ledger"]["redundant_calls"] == NOTHING_NEW


def test_questions_about_new_things_are_not_near_though_the_answer_is_the_same() -> None:
    assert detect(calls(40, tool_args=lambda i: json.dumps({"query": f"{PHRASES[i % 5]} settings of cart-{i}"}))) == []


def test_paraphrased_writes_prove_nothing() -> None:
    assert detect(calls(40, tool_args=query, access="write")) == []


def test_now_and_then_another_call_between_does_not_begin_it_anew() -> None:
    again = calls(24)
    for i in (3, 7, 10, 14, 18, 21):
        again[i] |= {"tool_name": "other", "tool_args": json.dumps({"path": f"a/{i}"}), "result_digest": f"r{i}"}
    found = detect(again)
    assert kinds(found) == {"feedback_loop.exact"}
    assert "nothing new was asked for" in found[0].summary


def test_work_between_equal_calls_is_no_loop() -> None:
    spans = calls(45)
    for i, row in enumerate(spans):
        if i % 3:
            row |= {"tool_name": "other", "tool_args": json.dumps({"path": f"a/{i}"}), "result_digest": f"r{i}"}
    assert detect(spans) == []


def edits(number: int, **fields: Any) -> list[dict[str, Any]]:
    """Edits of one file that all fail, each with another old text."""
    text = {"tool_args": lambda i: json.dumps({"path": "src/cart.py", "old": f"line {i} of it"})}
    failed = {"access": "write", "status": "error", "result_digest": None}
    return calls(number, **(failed | text | fields))


def looks_between(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """After each call a look at something else, that succeeds."""
    looks = [
        span(row["event_time"] / 1e6 - at(0) / 1e6 + 2, span_id=f"look-{i}", tool_name="read", access="read",
             tool_args=json.dumps({"path": f"src/{i}.py"}), result_digest=f"r{i}")
        for i, row in enumerate(spans)
    ]  # fmt: skip
    return sorted(spans + looks, key=lambda row: row["event_time"])


def test_one_tool_that_fails_at_one_thing_whatever_it_is_given_is_a_retry_storm() -> None:
    assert detect(looks_between(edits(FAILURES))) == [], "of the first failure only a hash is known"
    (signal,) = detect(looks_between(edits(FAILURES + 1)))
    assert signal.type == "feedback_loop.retry_storm"
    assert signal.summary.startswith("10 calls of get about the same thing in ")
    assert signal.details["error_share"] == 1.0


def test_failures_at_other_things_after_a_success_or_a_change_are_none() -> None:
    assert detect(edits(40, tool_args=lambda i: json.dumps({"path": f"src/{i}.py", "mode": "full"}))) == []
    healed = looks_between(edits(40))
    for row in healed[1::12]:
        row |= {"access": "write"}
    assert detect(healed) == []
    assert detect(edits(40, status=lambda i: "ok" if i % 8 == 7 else "error", result_digest=lambda i: f"r{i}")) == []


def test_edits_of_one_file_that_are_all_answered_the_same_are_no_loop() -> None:
    text = {"tool_args": lambda i: json.dumps({"path": "src/cart.py", "old": f"a{i}", "new": f"b{i}"})}
    for fields in ({"access": "write"}, {"access": None}, {"access": "write", "target": "eu/shop/configmap/cart"}):
        assert detect(calls(40, **(text | fields))) == []


def test_a_call_that_says_nothing_and_whose_answer_is_not_known_proves_nothing() -> None:
    assert detect(calls(40, tool_args="{}", result_digest=None)) == []
    assert kinds(detect(calls(5, tool_args="{}"))) == {"feedback_loop.exact"}


def test_the_same_click_is_no_loop_while_the_page_changes() -> None:
    clicks = calls(40, access="write")
    for i, row in enumerate(clicks):
        if i % 2:
            row |= {"tool_name": "look", "access": "read", "result_digest": f"page-{i}"}
    assert detect(clicks) == []
    still = [row | {"result_digest": "page" if i % 2 else "same"} for i, row in enumerate(clicks)]
    assert kinds(detect(still)) == {"feedback_loop.cycle"}


@pytest.mark.parametrize("every", [2.0, 90.0])
def test_calls_that_all_fail_are_a_retry_storm_with_and_without_back_off(every: float) -> None:
    found = detect(calls(5, every=every, status="error", result_digest=None))
    assert [signal.type for signal in found] == ["feedback_loop.retry_storm"]
    assert found[0].summary.endswith("every one of them failed")


def test_a_retry_that_succeeds_is_no_storm() -> None:
    failing = calls(5, status=lambda i: "ok" if i == 4 else "error", result_digest=lambda i: "new" if i == 4 else None)
    assert detect(failing) == []


def test_a_success_ends_the_storm() -> None:
    storm = calls(8, status=lambda i: "ok" if i == 7 else "error", result_digest=lambda i: "new" if i == 7 else None)
    assert [signal.details["is_over"] for signal in detect(storm)][-1]


def test_the_same_write_with_another_pid_in_every_answer_is_a_loop_after_ten() -> None:
    def write(number: int) -> list[dict[str, Any]]:
        return calls(number, access="write", result_digest=lambda i: f"pid-{i}")

    assert detect(write(WRITES - 1)) == []
    (signal,) = detect(write(WRITES))
    assert signal.type == "feedback_loop.exact"
    assert "only the answers differ" in signal.summary


def test_the_same_test_with_an_edit_between_is_no_loop() -> None:
    spans = calls(40, access="write", result_digest=lambda i: f"r{i}")
    for i, row in enumerate(spans):
        if i % 2:
            row |= {"tool_name": "edit", "tool_args": json.dumps({"path": "a.py", "content": f"c{i}"})}
            row |= {"result_digest": "written"}
    assert detect(spans) == []


@pytest.mark.parametrize("name", ["since", "until", "offset", "cursor", "timeout"])
def test_volatile_arguments_do_not_hide_equal_answers(name: str) -> None:
    found = detect(calls(5, tool_args=lambda i: json.dumps({"id": 7, name: 100 + i})))
    assert kinds(found) == {"feedback_loop.near"}
    assert found[0].summary.endswith(f"nothing moved; only {name} changed")


def test_an_argument_declared_volatile_is_none_also_where_no_result_is_known() -> None:
    def spans() -> list[dict[str, Any]]:
        return calls(5, tool_args=lambda i: json.dumps({"id": 7, "mood": f"m{i}"}), result_digest=None)

    assert detect(spans()) == []
    declared = Limits.model_validate({"limits": [{"match": {"tool_name": "get"}, "volatile_arguments": ["mood"]}]})
    assert kinds(detect(spans(), declared)) == {"feedback_loop.exact"}


def test_a_batch_of_writes_over_items_is_no_loop_whatever_its_items_look_like() -> None:
    items = calls(
        40, access="write", tool_args=lambda i: json.dumps({"item": f"{i:08x}-0000-4000-8000-{i:012x}", "text": "hi"})
    )
    assert detect(items) == []


def test_arguments_of_any_shape_are_compared_and_break_nothing() -> None:
    for text in ('[["x",{"deep":[1,null]}]]', "not json {", '{"a": [1, {"b": null}]}', "7"):
        assert len(detect(calls(5, tool_args=text))) == 1


def test_a_call_without_arguments_between_does_not_switch_detection_off() -> None:
    spans = calls(16)
    spans[2] |= {"tool_args": None}
    assert detect(spans)


def test_a_cut_context_in_the_middle_does_not_begin_it_anew() -> None:
    spans = calls(6)
    cut = span(14, span_id="c", operation="chat", tool_name=None, attributes='{"context.compacted":true}')
    assert len(detect(sorted([*spans, cut], key=lambda row: row["event_time"]))) == 2


def wait_and_look(rounds: int, **look: Any) -> list[dict[str, Any]]:
    """`wait 30`, which takes 30 seconds, then a look that brings the same."""
    spans = []
    for i in range(rounds):
        wait = {"tool_name": "pause", "tool_args": '{"seconds": 30}', "access": "read", "result_digest": "waited"}
        spans.append(span(31 + 40 * i, span_id=f"w{i}", duration_ms=30_000, **wait))
        seen = {"tool_name": "status", "tool_args": '{"id": 7}', "access": "read", "result_digest": "pending"}
        spans.append(span(33 + 40 * i, span_id=f"s{i}", **(seen | look)))
    return spans


def test_a_poll_that_says_how_long_it_waits_may_go_on_for_a_time() -> None:
    assert detect(wait_and_look(PATIENT)) == []
    assert kinds(detect(wait_and_look(PATIENT + 1))) == {"feedback_loop.cycle"}


def test_a_call_that_waits_itself_is_such_a_poll() -> None:
    polls = [
        span(31 + 40 * i, span_id=f"s{i}", duration_ms=30_400, access="read", result_digest="pending", tool_name="get",
             tool_args='{"id": 7, "wait_seconds": 30}')
        for i in range(16)
    ]  # fmt: skip
    assert detect(polls) == []


def test_a_pause_that_nobody_declared_is_no_such_poll() -> None:
    assert detect(calls(5, every=40.0))


def test_what_is_written_again_between_waits_is_no_poll() -> None:
    assert kinds(detect(wait_and_look(5, access="write"))) == {"feedback_loop.cycle"}


def test_a_tool_that_may_poll_is_never_a_loop() -> None:
    declared = Limits.model_validate({"limits": [{"match": {"tool_name": "get"}, "may_poll": True}]})
    assert detect(calls(100), declared) == []
    assert detect(calls(5, access="write"), declared)


@pytest.mark.parametrize("result", ["same", None])
def test_what_is_declared_for_one_version_of_an_agent_counts_for_that_one(result: str | None) -> None:
    def spans(version: str) -> list[dict[str, Any]]:
        changing = calls(5, tool_args=lambda i: json.dumps({"id": 7, "mood": f"m{i}"}), access="write")
        return [row | {"agent_version": version, "result_digest": result} for row in changing]

    match = {"agent_version": "2.*"}
    declared = Limits.model_validate({"limits": [{"match": match, "volatile_arguments": ["mood"]}]})
    assert (detect(spans("1.0"), declared), len(detect(spans("2.0"), declared))) == ([], 1)
    polls = Limits.model_validate({"limits": [{"match": match, "may_poll": True}]})
    assert detect(calls(100, agent_version="2.1"), polls) == []
    assert detect(calls(5, agent_version="1.0"), polls)


def jittering_writes(number: int, **fields: Any) -> list[dict[str, Any]]:
    """One page written again and again with the same text, and a word beside it that changes; answered the same."""
    note = lambda i: json.dumps({"id": 7, "text": "the same text", "note": f"try {i}"})  # noqa: E731
    return calls(number, **({"access": "write", "target": "cms/page/home", "tool_args": note} | fields))


def test_of_what_is_written_only_names_and_declarations_say_that_an_argument_does_not_matter() -> None:
    """That a note is one, and a text of ten that go to ten readers is not, stands in no span."""
    assert detect(jittering_writes(40)) == []
    by_name = jittering_writes(5, tool_args=lambda i: json.dumps({"id": 7, "text": "same", "request_id": f"r{i}"}))
    assert kinds(detect(by_name)) == {"feedback_loop.near"}
    declared = Limits.model_validate({"limits": [{"volatile_arguments": ["note"]}]})
    assert kinds(detect(jittering_writes(5), declared)) == {"feedback_loop.exact"}
    assert kinds(detect(jittering_writes(FAILURES, status="error"))) == {"feedback_loop.retry_storm"}


def test_a_text_names_paths_addresses_ids_and_numbers() -> None:
    assert names_in('{"q": "find the newest settings, please. now"}') == ()
    assert len(names_in('{"q": "https://a.example/b c/d.py T-17 42 snake_case"}')) == 5
    assert names_in('{"q": "what is T-17?"}') == names_in('{"other": "T-17."}')


def test_a_stranger_between_does_not_end_a_loop_and_two_do() -> None:
    again = calls(14)
    again[7] |= {"tool_name": "other", "tool_args": '{"path": "a/7"}', "result_digest": "r7"}
    found = detect(again)
    assert {signal.details["is_over"] for signal in found} == {False}
    assert found[-1].details["ledger"]["redundant_calls"] == 13
    again[8] |= {"tool_name": "other", "tool_args": '{"path": "a/8"}', "result_digest": "r8"}
    assert [signal.details["is_over"] for signal in detect(again)].count(True) == 1


@pytest.mark.parametrize("status", ["error", "ok"])
def test_a_change_between_equal_tests_moves_the_world(status: str) -> None:
    spans = calls(60, status=status)
    for i, row in enumerate(spans):
        if i % 2:
            row |= {"tool_name": "edit", "tool_args": json.dumps({"path": "a.py", "content": f"c{i}"})}
            row |= {"access": "write", "status": "ok", "result_digest": f"r{i}"}
    assert detect(spans) == []


def flips(writes: int, **fields: Any) -> list[dict[str, Any]]:
    """One file written A, B, A, B, answered the same, and a test after each that answers something new."""
    edit = {
        "tool_name": "edit", "access": "write", "target": "repo/a.py", "result_digest": "done",
        "tool_args": lambda i: json.dumps({"path": "a.py", "new": "AB"[i % 2]}),
    } | fields  # fmt: skip
    edits = calls(writes, every=12.0, **edit)
    tests = calls(writes, every=12.0, tool_name="test", access="write", result_digest=lambda i: f"r{i}")
    shifted = [{**one, "span_id": f"test-{i}", "event_time": at(7 + 12 * i)} for i, one in enumerate(tests)]
    return sorted([*edits, *shifted], key=lambda one: one["event_time"])


def test_two_writes_that_take_each_other_back_are_a_loop_after_five_of_each() -> None:
    assert detect(flips(9)) == []
    (signal,) = detect(flips(10))
    assert signal.type == "feedback_loop.cycle"
    assert "10 writes of edit on repo/a.py" in signal.summary
    assert "take each other back" in signal.summary


@pytest.mark.parametrize("fields", [
    {"result_digest": lambda i: f"another-{i}"},
    {"tool_args": lambda i: json.dumps({"path": "a.py", "new": "ABC"[i % 3] + str(i // 6)})},
    {"target": lambda i: f"repo/{i % 2}.py"},
])  # fmt: skip
def test_writes_that_move_something_or_are_of_two_things_do_not_take_each_other_back(fields: dict[str, Any]) -> None:
    assert detect(flips(24, **fields)) == []


@pytest.mark.parametrize("tool", ["click", "browserPress", "browser"])
def test_a_button_that_brings_another_page_each_time_is_no_loop_and_one_that_brings_the_same_is(tool: str) -> None:
    pressed = {"tool_name": tool, "access": "write", "tool_args": '{"ref": "e7", "action": "click"}'}
    assert detect(calls(40, **pressed, result_digest=lambda i: f"page-{i}")) == []
    assert kinds(detect(calls(8, **pressed))) == {"feedback_loop.exact"}
