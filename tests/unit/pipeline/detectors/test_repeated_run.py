from typing import Any

import pytest

from pipeline.core.limits import Limits
from pipeline.detectors import failed_run, repeated_run
from schemas.signals import Signal
from schemas.times import MINUTE
from schemas.usage import tables_of
from tests.builders import PANE, at, closed_rows, frame, run_detector, span, usage

EVERY = 600.0
LAST = {"tool_name": "deploy", "tool_args": '{"name": "cart"}', "status": "error", "access": "write"}


def run(number: int, every: float = EVERY, **call: Any) -> list[dict[str, Any]]:
    """A run of ten seconds: a model call, a call that fails, the end."""
    begins = number * every
    own = {"session_id": f"s{number}", "trace_id": f"t{number}"}
    return [
        span(begins + 3, span_id=f"c{number}", operation="chat", tool_name=None, **own),
        span(begins + 6, span_id=f"d{number}", **(LAST | own | call)),
        span(
            begins + 10, span_id=f"e{number}", operation="invoke_agent", tool_name=None, status="error",
            duration_ms=9_000, **own,
        ),
    ]  # fmt: skip


def failed(spans: list[dict[str, Any]]) -> list[Signal]:
    """What detect says of these runs."""
    return run_detector(failed_run, [closed_rows(frame("agent_span", spans))])


def detect(spans: list[dict[str, Any]], well_at: float | None = None) -> list[Signal]:
    """What correlate says of these runs; at `well_at` another run of the agent ends well."""
    said = failed(spans)
    memory, found = repeated_run.fresh(), []
    moments = {signal.detected_at - PANE for signal in said} | ({at(well_at) // PANE * PANE} if well_at else set())
    for pane in sorted(moments):
        own = [signal for signal in said if signal.detected_at - PANE == pane]
        used = [usage(pane, 3, input_tokens=100, output_tokens=10)]
        if well_at is not None and pane == at(well_at) // PANE * PANE:
            used.append(usage(pane, 1, operation="invoke_agent"))
        found += repeated_run.detect(own, tables_of(used), pane, PANE, memory, Limits())
    return found


def runs(number: int, every: float = EVERY, **call: Any) -> list[dict[str, Any]]:
    return [row for i in range(number) for row in run(i, every, **call)]


def test_a_run_that_fails_at_a_call_says_which() -> None:
    (signal,) = failed(run(0))
    assert signal.type == "failed_run.ended"
    assert (signal.window_start, signal.window_end) == (at(1), at(10))
    assert (signal.details["tool"], signal.details["calls"]) == ("deploy", 2)
    assert signal.details["references"][0]["event_id"] == "d0"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"status": "ok"}, id="its last call went well"),
        pytest.param({"operation": "decision"}, id="it called nothing"),
    ],
)
def test_a_run_that_did_not_fail_at_a_call_says_nothing(change: dict[str, Any]) -> None:
    assert failed(run(0, **change)) == []


@pytest.mark.parametrize(("number", "fired"), [(4, 0), (5, 1), (7, 3)])
def test_the_fifth_run_in_a_row_fires_and_each_that_follows(number: int, fired: int) -> None:
    assert len(detect(runs(number))) == fired


def test_the_sentence_and_the_ledger_are_made_from_its_numbers() -> None:
    (signal,) = detect(runs(5))
    assert signal.type == "feedback_loop.cron"
    assert signal.summary == "5 runs in 40 min 9 s failed at the same call of deploy, none between ended well"
    ledger = signal.details["ledger"]
    assert (ledger["needed_calls"], ledger["redundant_calls"], ledger["unplanned_tokens"]) == (2, 12, 440)
    assert signal.details["sessions"] == [f"s{i}" for i in range(5)]
    assert signal.details["quiet_after_seconds"] > 1_500


def test_runs_that_fail_at_different_calls_are_none() -> None:
    spans = [row for i in range(20) for row in run(i, tool_args=f'{{"name": "cart-{i % 2}"}}')]
    assert detect(spans) == []


def test_a_run_that_ends_well_begins_the_count_anew() -> None:
    assert detect(runs(8), well_at=4 * EVERY - 30) == []


def test_a_run_that_ends_well_ends_the_loop() -> None:
    found = detect(runs(6), well_at=6 * EVERY)
    assert [signal.details["is_over"] for signal in found] == [False, False, True]


def test_a_fleet_that_fails_together_is_no_loop() -> None:
    assert detect(runs(40, every=4.0)) == []


def test_other_agents_do_not_add_up() -> None:
    spans = [row | {"agent_id": f"agent-{i // 4}"} for i in range(8) for row in run(i)]
    assert detect(spans) == []


def test_a_silent_agent_leaves_the_memory() -> None:
    memory = repeated_run.fresh()
    repeated_run.detect(failed(run(0)), tables_of([]), at(0), PANE, memory, Limits())
    assert len(memory) == 1
    repeated_run.detect([], tables_of([]), at(0) + memory.keep + 30 * MINUTE, PANE, memory, Limits())
    assert len(memory) == 0
