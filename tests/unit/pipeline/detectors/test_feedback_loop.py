import json
from typing import Any

import polars as pl
import pytest

from pipeline.detectors import feedback_loop
from schemas.signals import Signal
from tests.builders import at, closed_rows, frame, run_detector, span


def detect(spans: list[dict[str, Any]], split: int = 1) -> list[Signal]:
    """The signals of these spans, read in `split` parts cut between panes."""
    rows = closed_rows(frame("agent_span", sorted(spans, key=lambda row: row["event_time"])))
    panes = sorted(rows["pane"].unique().to_list())
    size = max(1, len(panes) // split)
    parts = [panes[start : start + size] for start in range(0, len(panes), size)]
    return run_detector(feedback_loop, [rows.filter(pl.col("pane").is_in(part)) for part in parts])


def calls(number: int, every: float = 6.0, **fields: Any) -> list[dict[str, Any]]:
    """Equal calls with equal results, `every` seconds apart."""
    same = {"tool_name": "get", "tool_args": '{"id": 7}', "result_digest": "same"}
    return [span(1 + i * every, span_id=f"call-{i}", **(same | fields)) for i in range(number)]


@pytest.mark.parametrize(("number", "fired"), [(4, 0), (5, 1)])
def test_five_equal_calls_fire_and_four_do_not(number: int, fired: int) -> None:
    assert len(detect(calls(number))) == fired


def test_it_is_detected_at_the_end_of_the_pane_of_the_fifth_call() -> None:
    (signal,) = detect(calls(5))
    assert signal.type == "feedback_loop.exact"
    assert (signal.window_start, signal.window_end) == (at(1), at(25))
    assert signal.detected_at == at(30)


def cycle(rounds: int, period: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        span(1 + 2 * i, span_id=f"c{i}", tool_name=f"tool-{i % period}", tool_args="{}", result_digest="r", **fields)
        for i in range(rounds * period)
    ]


@pytest.mark.parametrize("period", range(2, 9))
def test_a_cycle_fires_at_the_end_of_its_fifth_round(period: int) -> None:
    assert detect(cycle(5, period)[:-1]) == []
    (signal,) = detect(cycle(5, period))
    assert signal.type == "feedback_loop.cycle"
    assert signal.details["period"] == period
    assert signal.window_end == at(1 + 2 * (5 * period - 1))


def test_a_round_of_more_than_eight_calls_is_not_followed() -> None:
    """Eight calls are remembered of every live session, and that is what bounds it."""
    assert detect(cycle(20, 9)) == []


def test_a_poll_whose_answer_changes_is_no_loop() -> None:
    polls = [row | {"result_digest": f"r{i}"} for i, row in enumerate(calls(20))]
    assert detect(polls) == []


def test_pagination_is_no_loop() -> None:
    pages = [row | {"tool_args": f'{{"page": {i}}}', "result_digest": f"r{i}"} for i, row in enumerate(calls(20))]
    assert detect(pages) == []


def test_a_batch_over_items_is_no_loop_though_every_result_says_ok() -> None:
    batch = [row | {"tool_args": f'{{"item": "sku-{i}"}}'} for i, row in enumerate(calls(20))]
    assert detect(batch) == []


def test_a_batch_with_two_calls_an_item_is_no_loop() -> None:
    pairs = [
        span(1 + 2 * i, span_id=f"p{i}", tool_name=("check", "send")[i % 2], target="a/b/table/t", access="write",
             tool_args=json.dumps({"item": f"sku-{i // 2}"}), result_digest="ok")
        for i in range(40)
    ]  # fmt: skip
    assert detect(pairs) == []


def test_an_argument_that_changes_in_every_call_of_a_cycle_does_not_hide_it() -> None:
    jittered = [
        row | {"tool_args": json.dumps({"map": "AB"[i % 2], "draft": f"d{i}"})}
        for i, row in enumerate(calls(10, access="read"))
    ]
    (signal,) = detect(jittered)
    assert signal.details["jitter"] == ["draft"]
    assert detect([row | {"access": None} for row in jittered]) == [], "what may write is not told by an ok"


@pytest.mark.parametrize("name", ["request_id", "timestamp", "nonce"])
def test_an_argument_that_is_volatile_by_name_does_not_hide_equal_calls(name: str) -> None:
    jittered = [row | {"tool_args": json.dumps({"id": 7, name: i})} for i, row in enumerate(calls(5))]
    assert len(detect(jittered)) == 1


def test_canonical_arguments_are_compared() -> None:
    spelt = [
        '{"a": 1, "b": "x/"}',
        '{"b": "x", "a": 1.0}',
        '{"a":1,"b":" x","c":null}',
        '{"b":"x","a":1}',
        '{"a":1,"b":"x"}',
    ]
    assert len(detect([row | {"tool_args": text} for row, text in zip(calls(5), spelt, strict=True)])) == 1


def test_calls_without_arguments_are_no_evidence() -> None:
    assert detect(calls(20, tool_args=None)) == []


def test_equal_calls_of_one_parallel_turn_count_once() -> None:
    turn = [
        span(5, span_id=f"p{i}", parent_span_id="chat", duration_ms=3000, tool_args='{"id": 7}', result_digest="r")
        for i in range(8)
    ]
    assert detect(turn) == []


def test_errors_repeated_are_a_loop_whatever_their_result() -> None:
    failing = [row | {"status": "error", "result_digest": f"pid-{i}"} for i, row in enumerate(calls(5))]
    (signal,) = detect(failing)
    assert signal.details["error_share"] == 1.0


def test_other_sessions_do_not_add_up() -> None:
    spread = [row | {"session_id": f"session-{i % 2}"} for i, row in enumerate(calls(8))]
    assert detect(spread) == []


def test_a_new_call_ends_the_loop_and_says_so_once() -> None:
    spans = [*calls(6), span(60, tool_name="other", tool_args="{}"), span(70, tool_name="third", tool_args="{}")]
    found = detect(spans)
    over = found[-1]
    assert [signal.details["is_over"] for signal in found] == [False, False, True]
    assert over.details["repetitions"] == 6


def test_it_speaks_again_when_it_has_grown_by_a_tenth_or_gone_on_for_thirty_seconds() -> None:
    found = detect(calls(100, every=2.0))
    said = [signal.details["repetitions"] for signal in found]
    assert said[:9] == [5, 6, 7, 8, 9, 10, 11, 13, 15]
    assert all(b <= 1.1 * a + 1 or b - a == 15 for a, b in zip(said, said[1:], strict=False))


def test_the_ledger_counts_calls_and_tokens_after_the_first_useful_occurrence() -> None:
    def chat(i: int) -> dict[str, Any]:
        return span(0.5 + i * 6, span_id=f"chat-{i}", operation="chat", tool_name=None, input_tokens=1000,
                    cached_input_tokens=400, output_tokens=50, reasoning_tokens=20)  # fmt: skip

    useful = [span(0.1, tool_name="look", tool_args="{}"), span(0.2, tool_name="plan", tool_args="{}")]
    spans = [*useful, *(row for i, call in enumerate(calls(10)) for row in (chat(i), call)),
             span(100, operation="invoke_agent", tool_name=None, input_tokens=99_999)]  # fmt: skip
    waste = detect(spans)[-1].details["ledger"]
    assert waste["needed_calls"] == 4  # look, plan, one chat, one call
    assert waste["redundant_calls"] == 18
    assert waste["calls_percent_of_expected"] == 550.0
    assert waste["unplanned_tokens"] == 9 * 650
    by_class = {"input": 1000, "cached_input": 400, "output": 50, "reasoning": 20}
    assert {name: waste[f"unplanned_{name}_tokens"] for name in by_class} == {k: 9 * v for k, v in by_class.items()}
    assert waste["wall_time_seconds"] == 54.0
    assert not any(word in name for name in waste for word in ("cost", "price", "usd", "eur"))


@pytest.mark.parametrize("split", [2, 3, 7, 50])
def test_where_the_panes_are_cut_into_batches_does_not_matter(split: int) -> None:
    spans = [
        *calls(30),
        span(200, tool_name="other", tool_args="{}"),
        *(r | {"event_time": r["event_time"] + 300_000_000} for r in calls(9)),
    ]
    assert detect(spans, split) == detect(spans)
