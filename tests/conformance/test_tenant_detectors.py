"""What every detector that runs in correlate promises of its signals, shown on generated trajectories of what it finds."""

from collections import defaultdict

import pytest

from bench.quality_corpus import limits_of
from pipeline.core.limits import Limits
from pipeline.correlation.cases import Cases, IsAnother
from pipeline.correlation.correlator import FROM_USAGE, Correlator
from pipeline.operators.detect import DetectOperator
from schemas.events import RECORD_TOPICS
from schemas.signals import Reduced, Row, Signal
from schemas.times import MINUTE
from tests.builders import PANE, decoded
from tests.corpus.generate import corpus

# detector -> what it says, and a family in which it says it
SHOWN_BY = {
    "call_rate": ("call_rate.spike", "rate.spike"),
    "budget_burn": ("token_burn.budget", "burn.budget"),
    "token_spike": ("token_burn.baseline", "burn.baseline"),
    "refused_calls": ("call_rate.throttled", "rate.throttling"),
    "silence": ("call_rate.silence", "rate.silence"),
    "stuck_tool": ("stuck_tool.slow", "tool.stuck"),
    "version_regression": ("version_regression.worse", "version.regression"),
    "repeated_run": ("feedback_loop.cron", "loop.cron"),
    "careless_change": ("governance.stale_decision", "governance.stale_decision"),
}


class Listening(Cases):
    """Cases that keep every signal that was routed."""

    def __init__(self, correlator: Correlator) -> None:
        super().__init__(correlator.topology)
        self.heard: list[Signal] = []

    def route(self, signal: Signal, now: int, is_another: IsAnother) -> None:
        self.heard.append(signal)
        super().route(signal, now, is_another)


def signals_of(family: str) -> tuple[list[Signal], Limits]:
    """All signals of one trajectory, those of correlate included, and the limits they went by."""
    (trajectory,) = corpus([4], [family])
    limits = limits_of([trajectory])[0]
    panes: dict[int, list[Row]] = defaultdict(list)
    newest = max(int(event["event_time"]) for event in trajectory.events)
    for record, topic in RECORD_TOPICS.items():
        operator = DetectOperator(topic, 0, "r", 1, limits)
        events = sorted(
            (event for event in trajectory.events if event["type"] == record), key=lambda event: event["event_time"]
        )
        for part in (decoded(record, events), decoded(record, [], newest + 10 * MINUTE)):
            for _, message in operator.read(part).messages:
                if isinstance(message, Reduced):
                    panes[message.pane].append(message.row)
    correlator = Correlator(str(trajectory.events[0]["tenant"]), PANE, limits)
    correlator.cases = heard = Listening(correlator)
    for pane in sorted(panes):
        correlator.apply(pane, panes[pane])
    return heard.heard, limits


def test_every_detector_of_usage_is_shown() -> None:
    assert {module.__name__.rsplit(".", 1)[1] for module in FROM_USAGE} <= SHOWN_BY.keys()


@pytest.mark.parametrize(("kind", "family"), SHOWN_BY.values(), ids=SHOWN_BY)
def test_every_signal_cites_evidence_counts_and_names_the_limits_it_went_by(kind: str, family: str) -> None:
    found, limits = signals_of(family)
    assert kind in {signal.type for signal in found}
    for signal in found:
        assert signal.details["references"], signal.type
        assert all(reference["shows"] for reference in signal.details["references"])
        assert signal.score > 0
        assert len(signal.summary.split()) > 3
        assert signal.window_start <= signal.window_end <= signal.detected_at
        assert signal.rule_version == limits.rule_version == "1+limits.1"
