"""Loop detectors say the same of the same calls, wherever panes are cut into batches and whatever stands in memory."""

from types import ModuleType
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.limits import Limits
from pipeline.core.memory import KeepsItself
from pipeline.core.plain import decode, encode
from pipeline.core.rows import Rows, with_sessions
from pipeline.core.sessions import SessionIndex
from pipeline.detectors import failed_run, feedback_loop, hand_off, monologue, restarted_run
from pipeline.operators.state import CLASSES
from schemas.signals import Signal
from tests.builders import PANE, closed_rows, frame, run_detector, span

MODULES = (failed_run, feedback_loop, hand_off, monologue, restarted_run)
IDS = [module.__name__.rsplit(".", 1)[1] for module in MODULES]
OPERATIONS = ("execute_tool",) * 6 + ("chat",) * 3 + ("handoff",) * 2 + ("invoke_agent",)

# a small world, so that calls repeat themselves: two agents, two sessions of one root and one of its own
calls = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(OPERATIONS),
        "session_id": st.sampled_from(("s1", "s1", "s2", "s3")),
        "agent_id": st.sampled_from(("a", "a", "a", "b")),
        "tool_name": st.sampled_from(("get", "get", "put")),
        "tool_args": st.sampled_from(
            ('{"id": 7}', '{"id": 7}', '{"id": 8}', '{"query": "the newest of cart-7"}', None)
        ),
        "result_digest": st.sampled_from(("same", "same", "other", None)),
        "status": st.sampled_from(("ok", "ok", "ok", "error")),
        "access": st.sampled_from(("read", "read", "write", None)),
        "after": st.sampled_from((0.0, 0.5, 3.0, 40.0)),
    }
)
# whole stretches of one call, so that loops are long enough to be said, and other calls between
stretches = st.lists(st.tuples(calls, st.integers(1, 14)), min_size=1, max_size=6)


def spans_of(told: list[tuple[dict[str, Any], int]]) -> list[dict[str, Any]]:
    """The stretches one after the other, in time."""
    found, now = [], 1.0
    for call, times in told:
        for _ in range(times):
            now += call["after"]
            root = {"s1": "root", "s2": "root", "s3": "s3"}[call["session_id"]]
            fields = {name: value for name, value in call.items() if name != "after"}
            found.append(span(now, span_id=f"n{len(found)}", root_session_id=root, input_tokens=10, **fields))
    return found


def parts_of(rows: pl.DataFrame, cuts: set[int]) -> list[pl.DataFrame]:
    """The rows cut before these panes."""
    panes = sorted(rows["pane"].unique().to_list())
    starts = sorted({0, *(cut % len(panes) for cut in cuts)})
    ends = [*starts[1:], len(panes)]
    return [rows.filter(pl.col("pane").is_in(panes[a:b])) for a, b in zip(starts, ends, strict=True)]


@pytest.mark.parametrize("module", MODULES, ids=IDS)
@settings(deadline=None, max_examples=40)
@given(told=stretches, cuts=st.sets(st.integers(0, 50), max_size=6))
def test_where_panes_are_cut_into_batches_does_not_matter(
    module: ModuleType, told: list[tuple[dict[str, Any], int]], cuts: set[int]
) -> None:
    rows = closed_rows(frame("agent_span", spans_of(told)))
    whole = sorted(run_detector(module, [rows]), key=lambda signal: (signal.detected_at, signal.signal_id))
    again = sorted(
        run_detector(module, parts_of(rows, cuts)), key=lambda signal: (signal.detected_at, signal.signal_id)
    )
    assert again == whole
    assert len({signal.signal_id for signal in whole}) == len(whole)


@pytest.mark.parametrize("module", MODULES, ids=IDS)
@settings(deadline=None, max_examples=40)
@given(told=stretches, cut=st.integers(1, 50))
def test_a_memory_that_was_saved_goes_on_as_if_it_had_not_been(
    module: ModuleType, told: list[tuple[dict[str, Any], int]], cut: int
) -> None:
    rows = closed_rows(frame("agent_span", spans_of(told)))
    parts = parts_of(rows, {cut})
    index = SessionIndex()
    memory = module.fresh(index)
    found: list[Signal] = []
    for part in parts:
        found += module.detect(with_sessions(Rows(part, PANE), index), memory, Limits())
        own = memory.saved() if isinstance(memory, KeepsItself) else None
        kept = decode(encode({"sessions": index.saved(), "own": own}, CLASSES), CLASSES)
        index = SessionIndex()
        memory = module.fresh(index)
        index.restore(kept["sessions"])
        if own is not None:
            memory.restore(kept["own"])
    assert found == run_detector(module, parts)
