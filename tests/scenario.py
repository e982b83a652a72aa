"""A scenario: events in, incidents out, through the operators that run live. Rows come from tests.builders."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.backtest import Backtest
from pipeline.core.limits import Limits
from schemas.incidents import Incident
from tests.builders import decoded

SETTLE = 60 * 60 * 1_000_000


def replay(rows: Iterable[Mapping[str, Any]], limits: Limits | None = None, settle: int = 0) -> Backtest:
    """Every row in order of event time; then, where asked for, `settle` microseconds in which nothing happens."""
    backtest = Backtest(limits)
    ordered = sorted(rows, key=lambda row: row["event_time"])
    last = ordered[-1]["event_time"]
    names = ("agent_span", "metric_point", "cluster_event")
    parts = [decoded(name, [row for row in ordered if row["type"] == name], last) for name in names]
    backtest.read([part for part in parts if part.frame.height])
    if settle:
        backtest.read([decoded("agent_span", [], last + settle)])
    backtest.finish()
    return backtest


def incidents(rows: Iterable[Mapping[str, Any]], limits: Limits | None = None, settle: int = 0) -> list[Incident]:
    """The newest revision of each incident."""
    return replay(rows, limits, settle).outcomes.incidents
