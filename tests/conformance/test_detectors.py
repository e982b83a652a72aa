"""What every detector promises: the same signals however panes are cut, no clock, evidence.

Run on the demo's story; a detector to which the story shows nothing is run on generated trajectories of what it finds.
"""

import importlib
import inspect
import pkgutil
import sys
from types import ModuleType

import polars as pl
import pytest

import pipeline.correlation.correlator
import pipeline.detectors
from pipeline.core.limits import Limits
from pipeline.core.memory import KeepsItself
from pipeline.core.rows import Rows, with_sessions
from pipeline.core.sessions import Columns, SessionIndex
from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.operators.detect import DETECTORS, DetectOperator
from schemas.events import RECORD_TOPICS
from schemas.signals import Signal
from schemas.times import MINUTE
from tests.builders import PANE, closed_rows, frame, run_detector
from tests.corpus.generate import corpus

LIMITS = Limits.model_validate(
    {"version": 1, "limits": [{"tokens_per_session": 500_000, "max_steps": 20, "needs_approval": True}]}
)
CASES = [(record, module) for record, modules in DETECTORS.items() for module in modules]
# families that show a detector what the story does not
SHOWN_BY = {
    "monologue": ["loop.no_tool"],
    "hand_off": ["loop.ping_pong", "loop.fan_out"],
    "failed_run": ["loop.cron"],
    "restarted_run": ["loop.split_history"],
    "context_overload": ["context.overload"],
}
IDS = [module.__name__.rsplit(".", 1)[1] for _, module in CASES]


@pytest.fixture(scope="module")
def panes() -> dict[str, pl.DataFrame]:
    """Every closed row of the story, by record."""
    found = {}
    with recording_of(story()) as recording:
        for chunk in recording.chunks(10**6):
            for part in chunk:
                record = next(name for name, topic in RECORD_TOPICS.items() if topic == part.topic)
                operator = DetectOperator(part.topic, 0, "r", 1)
                frame = part.frame
                if record == "agent_span":
                    began = pl.col("event_time") - pl.col("duration_ms") * 1000
                    frame = frame.with_columns(start_time=pl.coalesce("start_time", began))
                judged = operator.panes.lateness.judge(frame, part.newest_ingest_time)
                found[record] = operator.panes.read(judged).rows
    return found


def shown(record: str, module: ModuleType, panes: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows in which this detector has something to see."""
    families = SHOWN_BY.get(module.__name__.rsplit(".", 1)[1])
    if families is None:
        return panes[record]
    events = [event for one in corpus(range(3), families) for event in one.events if event["type"] == record]
    return closed_rows(frame(record, sorted(events, key=lambda event: event["event_time"])))


def detect(module: ModuleType, rows: pl.DataFrame, every: int) -> list[Signal]:
    """The signals of these rows, `every` panes at a time."""
    starts = rows["pane"].unique().sort().to_list()
    parts = [starts[first : first + every] for first in range(0, len(starts), every)]
    return run_detector(module, [rows.filter(pl.col("pane").is_in(part)) for part in parts], LIMITS)


def test_every_detector_is_called_somewhere() -> None:
    there = {f"pipeline.detectors.{item.name}" for item in pkgutil.iter_modules(pipeline.detectors.__path__)}
    used = {module.__name__ for modules in DETECTORS.values() for module in modules}
    used |= {m.__name__ for m in vars(pipeline.correlation.correlator).values() if inspect.ismodule(m)}
    assert there <= used


@pytest.mark.parametrize(("record", "module"), CASES, ids=IDS)
def test_where_panes_are_cut_into_batches_does_not_matter(
    record: str, module: ModuleType, panes: dict[str, pl.DataFrame]
) -> None:
    rows = shown(record, module, panes)
    whole = detect(module, rows, 10**6)
    assert whole, "the story gives this detector something to see; if not, name families in SHOWN_BY"
    in_order = sorted(whole, key=lambda signal: (signal.detected_at, signal.signal_id))
    for every in (1, 13):
        again = detect(module, rows, every)
        assert sorted(again, key=lambda signal: (signal.detected_at, signal.signal_id)) == in_order


@pytest.mark.parametrize(("record", "module"), CASES, ids=IDS)
def test_every_signal_cites_evidence_and_says_a_sentence(
    record: str, module: ModuleType, panes: dict[str, pl.DataFrame]
) -> None:
    for signal in detect(module, shown(record, module, panes), 10**6):
        assert signal.details["references"]
        assert signal.summary
        assert signal.window_start <= signal.window_end <= signal.detected_at
        assert signal.rule_version == LIMITS.rule_version


@pytest.mark.parametrize(("record", "module"), CASES, ids=IDS)
def test_memory_of_silent_keys_leaves(record: str, module: ModuleType, panes: dict[str, pl.DataFrame]) -> None:
    rows, index = shown(record, module, panes), SessionIndex()
    memory = module.fresh(index)
    if record == "agent_span":
        module.detect(with_sessions(Rows(rows, PANE), index), memory, LIMITS)
        assert len(index) > 0
        index.expire(int(rows["event_time"].max()) + index.keep + 30 * MINUTE)  # type: ignore[arg-type]
        assert len(index) == 0
        if isinstance(memory, KeepsItself):
            assert len(memory) > 0
            memory.expire(int(rows["event_time"].max()) + memory.keep + 30 * MINUTE)  # type: ignore[arg-type]
            assert len(memory) == 0
            return
        for table in [memory] if isinstance(memory, Columns) else vars(memory).values():
            assert not any(c.any() for c in table.data.values()) if isinstance(table, Columns) else not table
        return
    module.detect(Rows(rows, PANE), memory, LIMITS)
    assert len(memory) > 0
    memory.expire(int(rows["event_time"].max()) + memory.keep + 30 * MINUTE)  # type: ignore[arg-type]
    assert len(memory) == 0


@pytest.mark.parametrize("module", [*(m for _, m in CASES), importlib.import_module("pipeline.detectors.call_rate")])
def test_no_detector_reads_a_clock(module: ModuleType) -> None:
    imported = {name for name, value in vars(module).items() if inspect.ismodule(value)}
    assert not imported & {"time", "datetime", "asyncio"}
    assert "pipeline.clock" not in sys.modules or "clock" not in imported
