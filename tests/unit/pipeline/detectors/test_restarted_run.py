import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from pipeline.core.limits import Limits
from pipeline.detectors import restarted_run
from schemas.signals import Signal
from tests.builders import closed_rows, frame, run_detector, span


def detect(spans: list[dict[str, Any]], every: int = 10**6, limits: Limits | None = None) -> list[Signal]:
    """The signals of these spans, read `every` panes at a time."""
    rows = closed_rows(frame("agent_span", sorted(spans, key=lambda row: row["event_time"])))
    panes = sorted(rows["pane"].unique().to_list())
    parts = [panes[start : start + every] for start in range(0, len(panes), every)]
    return run_detector(restarted_run, [rows.filter(pl.col("pane").is_in(part)) for part in parts], limits)


def run(number: int, calls: int, begins: float, ends: float | None = None, **call: Any) -> list[dict[str, Any]]:
    """A run below a root session: a model call and an equal call, so often; then its end."""
    own = {"session_id": f"s{number}", "root_session_id": "root", "trace_id": f"t{number}"}
    same = {"tool_name": "get", "tool_args": '{"id": 7}', "result_digest": "same"}
    spans = []
    for i in range(calls):
        now = begins + 4 * i
        spans.append(span(now + 2, span_id=f"c{number}-{i}", operation="chat", tool_name=None, input_tokens=100, **own))
        spans.append(span(now + 4, span_id=f"d{number}-{i}", duration_ms=500, **(same | own | call)))
    end = begins + 4 * calls if ends is None else ends
    return [
        *spans,
        span(end, span_id=f"e{number}", operation="invoke_agent", tool_name=None, duration_ms=4_000, **own),
    ]


def runs(number: int, calls: int = 1, **call: Any) -> list[dict[str, Any]]:
    """One run after the other."""
    return [row for i in range(number) for row in run(i, calls, 60.0 * i, **call)]


@pytest.mark.parametrize(("number", "fired"), [(4, 0), (5, 1)])
def test_the_fifth_equal_call_over_runs_fires(number: int, fired: int) -> None:
    assert len(detect(runs(number))) == fired


def test_the_sentence_and_the_ledger_are_made_from_its_numbers() -> None:
    signal = detect(runs(3, calls=2))[0]
    assert signal.type == "feedback_loop.restarted"
    says = "5 equal calls of get by 3 runs of one delegation, one after the other, in 1 min 56 s; nothing moved"
    assert signal.summary == says
    ledger = signal.details["ledger"]
    assert (ledger["needed_calls"], ledger["redundant_calls"], ledger["unplanned_tokens"]) == (2, 8, 400)


def test_a_run_that_repeats_itself_alone_is_the_feedback_loop_detectors() -> None:
    assert detect(run(0, 20, 0.0)) == []


def test_runs_side_by_side_are_workers_of_their_own() -> None:
    assert detect([row for i in range(20) for row in run(i, 1, 1.0 * i, ends=100.0)]) == []


def test_another_call_between_begins_it_anew() -> None:
    spans = [row for i in range(12) for row in run(i, 1, 60.0 * i, tool_args=f'{{"id": {i % 4 // 3}}}')]
    assert detect(spans) == []


def test_another_answer_is_something_new() -> None:
    assert detect([row for i in range(12) for row in run(i, 1, 60.0 * i, result_digest=f"r{i}")]) == []


def test_calls_whose_arguments_are_not_known_are_no_evidence() -> None:
    assert detect(runs(12, tool_args=None)) == []


def told(number: int, say: Callable[[int], dict[str, Any]], **call: Any) -> list[dict[str, Any]]:
    """One run after the other with one call each, whose arguments a function of its number says."""
    return [row for i in range(number) for row in run(i, 1, 60.0 * i, tool_args=json.dumps(say(i)), **call)]


@pytest.mark.parametrize("say", [
    lambda i: dict(sorted({"id": 7, "path": "a/", "deep": None}.items(), reverse=bool(i % 2))),
    lambda i: {"id": 7.0 if i % 2 else 7},
    lambda i: {"id": 7, "request_id": f"r{i}"},
    lambda i: {"id": 7, "nonce": f"{i:08x}-0000-4000-8000-{i:012x}"},
])  # fmt: skip
@pytest.mark.parametrize("every", [1, 10**6])
def test_calls_of_runs_are_equal_as_those_of_one_run_are(say: Callable[[int], dict[str, Any]], every: int) -> None:
    assert detect(told(4, say, access="read"), every) == []
    (signal,) = detect(told(5, say, access="read"), every)
    assert signal.details["repetitions"] == 5


def test_an_argument_that_is_declared_volatile_does_not_hide_them() -> None:
    def spans() -> list[dict[str, Any]]:
        return told(5, lambda i: {"id": 7, "mood": f"m{i}"})

    assert detect(spans()) == []
    declared = Limits.model_validate({"limits": [{"match": {"tool_name": "get"}, "volatile_arguments": ["mood"]}]})
    assert len(detect(spans(), limits=declared)) == 1


@pytest.mark.parametrize("access", ["read", "write", None])
def test_runs_that_go_through_items_with_the_same_answer_are_none(access: str | None) -> None:
    assert detect(told(30, lambda i: {"item": f"case-{i}"}, access=access)) == []


def test_items_gone_through_and_then_one_again_and_again_count_from_that_one() -> None:
    (signal,) = detect(told(13, lambda i: {"item": f"case-{min(i, 8)}"}, access="read"))
    assert signal.details["repetitions"] == 5
    assert signal.details["ledger"]["redundant_calls"] == 8, "a model call and a tool call each"


def test_what_may_poll_only_looks_and_may_go_on() -> None:
    declared = Limits.model_validate({"limits": [{"match": {"tool_name": "get"}, "may_poll": True}]})
    assert detect(runs(30, access="read"), limits=declared) == []
    assert detect(runs(5, access="write"), limits=declared)
    assert detect(runs(5, access="read", status="error"), limits=declared)


def test_other_roots_and_agents_do_not_add_up() -> None:
    assert detect([row | {"root_session_id": f"root-{row['session_id']}"} for row in runs(12)]) == []
    assert detect([row | {"agent_id": f"agent-{row['session_id']}"} for row in runs(12)]) == []


def test_it_says_once_when_it_is_over() -> None:
    found = detect([*runs(6), *run(6, 2, 400.0, tool_name="other")])
    assert [signal.details["is_over"] for signal in found] == [False, False, True]


@pytest.mark.parametrize("every", [1, 3, 7])
def test_where_the_panes_are_cut_into_batches_does_not_matter(every: int) -> None:
    spans = [*runs(7, calls=2), *run(7, 1, 500.0, tool_name="other"), *run(8, 3, 600.0), *run(9, 4, 700.0)]
    whole = detect(spans)
    assert len(whole) > 5
    assert detect(spans, every) == whole


@pytest.mark.parametrize("operation", ["approval", "decision"])
def test_panes_with_nothing_but_approvals_or_decisions_below_a_root_are_quiet(operation: str) -> None:
    own = {"session_id": "s0", "root_session_id": "root"}
    between = span(20, span_id="between", operation=operation, tool_name=None, **own)
    assert detect([between]) == []
    said = [signal.summary for signal in detect([*runs(5), between], every=1)]
    assert said == [signal.summary for signal in detect(runs(5), every=1)] != []
